"""Two trunks under the same localized protocols.

``python benchmarks/localized_pairs.py --first A... --second B... --out DIR``: A and B are folders of ``crossray
localized``, one a fold. Writes ``pairs.json`` and ``pairs.md``: values, intervals by patient, and paired differences.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import crossray
from crossray.errors import CrossRayError
from crossray.evaluation.localized.pairs import compare_trunks, pairs_markdown
from crossray.evaluation.localized.table import read_localized
from crossray.versions import versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=Path, nargs="+", required=True)
    parser.add_argument("--second", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        rows = compare_trunks(arguments.first, arguments.second)
        commands = [read_localized(folder).provenance.command for folder in (*arguments.first, *arguments.second)]
    except CrossRayError as error:
        sys.exit(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    content = {
        "kind": "localized pairs",
        "crossray": crossray.__version__,
        "date": date,
        "commands": commands,
        "versions": versions(),
        "rows": [row.model_dump(mode="json") for row in rows],
    }
    (arguments.out / "pairs.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    head = f"Values are means over runs; intervals 95 % by patient; * marks a difference without 0. {date}.\n"
    made = "Commands:\n\n" + "\n".join(f"- `{command}`" for command in commands) + "\n"
    (arguments.out / "pairs.md").write_text(f"{head}\n{pairs_markdown(rows)}\n{made}", encoding="utf-8")


if __name__ == "__main__":
    main()
