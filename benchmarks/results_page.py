"""Write ``docs/results.md`` from the result files in ``docs/results/``: ``python benchmarks/results_page.py``.

Nothing on that page is typed by hand: each folder with a ``results.json`` (made by ``crossray evaluate``) becomes a
chapter with its provenance, each with a ``compare.json`` (made by ``crossray compare``) one with its table and figure
and what is to be learned from them (``notes.md``, the only part that is written by hand; evaluations may have one too),
each with a ``pairs.md`` (made by ``benchmarks/localized_pairs.py``) one of two trunks under localized protocols,
``labeller_iu.json`` (made by ``benchmarks/labeller_on_iu.py``) one, and so has each ``table.md`` of a benchmark with a
folder of its own (``make bench``, ``python -m benchmarks.faults --out``, and so on).
``--check`` writes nothing and fails if the page is not what the files say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from crossray.evaluation.results import read_results
from crossray.evaluation.tables import markdown

DOCS = Path(__file__).parents[1] / "docs"

_TABLES = {
    "bench": "Speed and memory",
    "faults": "Faults",
    "faults-owners": "Faults: two owners and later commands",
    "audit": "Audit",
    "fuzz": "Fuzzing",
}

HEAD = """# Results

Research only, not for diagnosis. This page is made from the files in `docs/results/` by
`python benchmarks/results_page.py`; each chapter says the command, versions and date of its figures.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/results.md from docs/results/.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the page is out of date")
    arguments = parser.parse_args()
    page, wanted = DOCS / "results.md", results_page(DOCS / "results")
    if not arguments.check:
        page.write_text(wanted, encoding="utf-8")
    elif not page.is_file() or page.read_text(encoding="utf-8") != wanted:
        sys.exit("docs/results.md is not what docs/results/ says: run python benchmarks/results_page.py")


def results_page(folder: Path) -> str:
    chapters = [evaluation_chapter(file.parent) for file in sorted(folder.glob("*/results.json"))]
    chapters += [comparison_chapter(file.parent) for file in sorted(folder.glob("*/compare.json"))]
    chapters += [pairs_chapter(file.parent) for file in sorted(folder.glob("*/pairs.md"))]
    labeller = folder / "labeller_iu.json"
    if labeller.is_file():
        chapters.append(labeller_chapter(json.loads(labeller.read_text(encoding="utf-8"))))
    for name, title in _TABLES.items():
        if (folder / name / "table.md").is_file():
            chapters.append(table_chapter(folder / name, title))
    # One empty line before each title: a table would swallow a title that follows at once.
    return "\n".join([HEAD, contents(chapters), *(chapter.rstrip("\n") + "\n" for chapter in chapters)])


def contents(chapters: list[str]) -> str:
    """A link to each chapter, with what its notes say first."""
    lines = []
    for chapter in chapters:
        title = chapter.partition("\n")[0].removeprefix("## ")
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        said = re.search(r"^\*\*What it teaches\.\*\* (.+?)(?:[.:;](?=\s)|\n\n)", chapter, re.MULTILINE | re.DOTALL)
        lines.append(f"- [{title.partition(' (')[0]}](#{anchor})" + (f": {' '.join(said[1].split())}" if said else ""))
    return "\n".join(lines) + "\n"


def evaluation_chapter(folder: Path) -> str:
    title, _, body = markdown(read_results(folder)).partition("\n")
    # Where crossray transfer wrote them: scores inside groups of studies, and what could stand in for a finding.
    more = [folder / name for name in ("groups.md", "confounding.md") if (folder / name).is_file()]
    inside = "\n".join(one_deeper(one_deeper(file.read_text(encoding="utf-8"))) for file in more)
    protocol = title.removeprefix("# Results: ")
    name = folder.name if protocol == folder.name else f"{folder.name} ({protocol})"
    return f"## {name}\n{notes_of(folder)}{one_deeper(body)}\n{inside}"


def notes_of(folder: Path) -> str:
    """What is to be learned from a folder's figures, if somebody has written it down."""
    notes = folder / "notes.md"
    return f"\n{notes.read_text(encoding='utf-8').strip()}\n" if notes.is_file() else ""


def comparison_chapter(folder: Path) -> str:
    title, _, body = (folder / "table.md").read_text(encoding="utf-8").partition("\n")
    said = notes_of(folder)
    picture = f"![Each metric, a dot with its interval for each entry](results/{folder.name}/figure.png)"
    return f"## {folder.name}\n\n{title.removeprefix('# ')}\n{said}{one_deeper(body)}\n\n{picture}\n"


def table_chapter(folder: Path, title: str) -> str:
    return f"## {title}\n{notes_of(folder)}\n{(folder / 'table.md').read_text(encoding='utf-8')}"


def pairs_chapter(folder: Path) -> str:
    """Two trunks under localized protocols: the protocols' own metrics; the others stay in the folder's file."""
    text = (folder / "pairs.md").read_text(encoding="utf-8")
    head, _, _ = text.partition("## The others")
    made = text[text.index("Commands:") :]
    others = f"Other metrics: `results/{folder.name}/pairs.md`."
    return f"## {folder.name}\n{notes_of(folder)}\n{one_deeper(head)}\n{others}\n\n{made}"


def one_deeper(body: str) -> str:
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in body.splitlines())


def labeller_chapter(content: dict[str, Any]) -> str:
    lines = [
        "## Rule labeller on the human MeSH terms of IU X-ray\n",
        *(f"- {name}: {value}" for name, value in content["protocol"].items()),
        f"- command: `{content['command']}`, {content['date']}\n",
        "| label | n | n+ | precision | recall | F1 [95 %] | F1, uncertain counts as present [95 %] |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for score in content["scores"]["held_out"]:
        plain, doubtful = score["present"], score["present_or_uncertain"]
        cells = [score["label"], score["studies"], score["positives"], plain["precision"], plain["recall"]]
        lines.append("| " + " | ".join([*map(str, cells), f1_cell(plain), f1_cell(doubtful)]) + " |")
    return "\n".join(lines) + "\n"


def f1_cell(agreement: dict[str, Any]) -> str:
    low, high = agreement["f1_interval"]
    return f"{agreement['f1']} [{low}, {high}]"


if __name__ == "__main__":
    main()
