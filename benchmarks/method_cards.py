"""Write "Our numbers" of each card in ``docs/methods`` from the comparisons in ``docs/results``.

``python benchmarks/method_cards.py``. What stands between the two marks of a card is replaced; ``--check`` writes
nothing and fails if a card is not what the files say.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- numbers: python benchmarks/method_cards.py -->", "<!-- /numbers -->"

#: Cards by file, and the methods that each describes.
CARDS: Mapping[str, tuple[str, ...]] = {
    name: (name,) for name in ("joimternet", "global_local", "lovt", "prior", "convirt", "mgca", "clip", "siglip")
} | {"image_only": ("supervised", "simclr")}

#: Head of a column, its task, metric, the beginning of its target, and whether it is a share.
COLUMNS = (
    ("film → report R@10, %", "retrieval", "R@10", "film → report", True),
    ("report → film R@10, %", "retrieval", "R@10", "report → film", True),
    ("zero-shot AUROC", "zero-shot", "AUROC", "mean of all", False),
    ("probe AUROC", "probe", "AUROC", "mean of all", False),
    ("fine-tuned AUROC", "finetune", "AUROC", "mean of all", False),
    ("pointing game, %", "grounding", "pointing game", "all phrases", True),
    ("where blind maps miss, %", "grounding", "pointing game", "phrases that no blind map hits", True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write 'Our numbers' of the cards in docs/methods.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a card is out of date")
    arguments = parser.parse_args()
    comparisons = {file.parent.name: read(file) for file in sorted((DOCS / "results").glob("*/compare.json"))}
    for name, methods in CARDS.items():
        card = DOCS / "methods" / f"{name}.md"
        text = card.read_text(encoding="utf-8")
        wanted = with_numbers(text, section(comparisons, methods), card)
        if not arguments.check:
            card.write_text(wanted, encoding="utf-8")
        elif text != wanted:
            sys.exit(f"{card.name} is not what docs/results/ says: run python benchmarks/method_cards.py")


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def with_numbers(text: str, numbers: str, card: Path) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{card} has no place for numbers: '{BEGIN}' and '{END}'")
    return f"{before}{BEGIN}\n{numbers}\n{END}{after}"


def section(comparisons: Mapping[str, dict[str, Any]], methods: Sequence[str]) -> str:
    rows = [
        (name, line)
        for name, content in comparisons.items()
        for line in content["lines"]
        if line["kind"] == "model" and any(line["name"] == own or line["name"].startswith(f"{own}_") for own in methods)
    ]
    if not rows:
        return "Nothing has been measured yet."
    columns = [column for column in COLUMNS if any(cell(line, column) for _, line in rows)]
    table = [
        "| comparison | entry | seeds | " + " | ".join(column[0] for column in columns) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(columns),
    ]
    for name, line in rows:
        cells = [cell(line, column) or "–" for column in columns]
        seeds = ", ".join(map(str, line["seeds"]))
        table.append(f"| [{name}](../results.md#{name}) | {line['name']} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(["Values with 95 % intervals by patient; protocols and commands are in the results.\n", *table])


def cell(line: Mapping[str, Any], column: tuple[str, str, str, str, bool]) -> str | None:
    _, task, metric, target, share = column
    for number in line["numbers"]:
        own = number["task"].replace("_", "-") == task and number["metric"] == metric
        if own and number["target"].startswith(target) and number["value"] is not None:
            value, low, high = (number[key] for key in ("value", "low", "high"))
            if share:
                return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            return f"{value:.3f} [{low:.3f}, {high:.3f}]"
    return None


if __name__ == "__main__":
    main()
