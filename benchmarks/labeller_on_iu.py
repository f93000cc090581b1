"""Score the rule labeller against the human MeSH terms of the IU reports: ``python benchmarks/labeller_on_iu.py IU``.

``IU`` is a folder with ``reports.csv`` (study_id, findings, impression, mesh_major). The patterns were written and
tuned on the studies with even ids; the table is of the odd ones, which no pattern was fitted to. Prints a markdown
table and writes the same figures, with what they were made by, to ``docs/results/labeller_iu.json``. No report text
is written.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import crossray
from crossray.data.findings import label_mentions, mesh_labels
from crossray.data.labeller_score import Agreement, LabelScore, score_labeller
from crossray.data.reports import parse_sections
from crossray.errors import CrossRayError, DataError

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "labeller_iu.json"
COLUMNS = ("study_id", "findings", "impression", "mesh_major")


def main() -> None:
    parser = argparse.ArgumentParser(description="Score the rule labeller on the human MeSH terms of IU X-ray.")
    parser.add_argument("iu", type=Path, help="folder with reports.csv")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go (JSON)")
    arguments = parser.parse_args()
    try:
        rows = read_rows(arguments.iu / "reports.csv")
    except CrossRayError as error:
        sys.exit(str(error))
    halves = {
        name: score_labeller(
            [
                label_mentions(parse_sections({"findings": row["findings"], "impression": row["impression"]}))
                for row in half
            ],
            [mesh_labels(row["mesh_major"]) for row in half],
        )
        for name, half in (
            ("held_out", [row for row in rows if int(row["study_id"]) % 2 == 1]),
            ("tuned_on", [row for row in rows if int(row["study_id"]) % 2 == 0]),
        )
    }
    print(table(halves["held_out"]))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document(halves, len(rows)), indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {arguments.output.name}")


def read_rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        raise DataError("there is no such file.", file=file, remedy="Give the folder that holds reports.csv.")
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        for column in COLUMNS:
            if column not in (reader.fieldnames or ()):
                raise DataError("the column is missing.", file=file, field=column)
        return list(reader)


def table(scores: list[LabelScore]) -> str:
    lines = [
        "| label | n | n+ | precision | recall | F1 [95 %] | precision, uncertain too | recall | F1 [95 %] |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for score in scores:
        cells = [score.label, str(score.studies), str(score.positives)]
        lines.append("| " + " | ".join([*cells, *ratios(score.present), *ratios(score.present_or_uncertain)]) + " |")
    return "\n".join(lines)


def ratios(agreement: Agreement) -> list[str]:
    low, high = agreement.f1_interval
    return [f"{agreement.precision:.3f}", f"{agreement.recall:.3f}", f"{agreement.f1:.3f} [{low:.3f}, {high:.3f}]"]


def document(halves: dict[str, list[LabelScore]], studies: int) -> dict[str, object]:
    patterns = Path(crossray.__file__).parent / "data" / "patterns"
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(patterns.glob("*.yaml"))}
    return {
        "command": "python benchmarks/labeller_on_iu.py PATH_TO_IU",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"crossray": crossray.__version__, "python": platform.python_version()},
        "protocol": {
            "reference": "human MeSH major terms by patterns/mesh.yaml; 'No Indexing' is unknown for No Finding",
            "held_out": "studies with odd ids; the patterns were tuned on the even ones only",
            "readings": "present: plain statements; present_or_uncertain: doubtful ones count as positive too",
            "interval": "95 % percentile bootstrap of F1 over studies, 2000 resamples, seed 0",
            "studies_in_table": studies,
        },
        "patterns_sha256": digests,
        "scores": {name: [score_document(score) for score in scores] for name, scores in halves.items()},
    }


def score_document(score: LabelScore) -> dict[str, object]:
    readings = {name: getattr(score, name) for name in ("present", "present_or_uncertain")}
    return {
        "label": score.label,
        "studies": score.studies,
        "positives": score.positives,
        **{
            name: asdict(agreement)
            | {key: number(getattr(agreement, key)) for key in ("precision", "recall", "f1")}
            | {"f1_interval": [number(bound) for bound in agreement.f1_interval]}
            for name, agreement in readings.items()
        },
    }


def number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


if __name__ == "__main__":
    main()
