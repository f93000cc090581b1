"""What the audit finds of identifiers, leaks and copies that were planted: ``python -m benchmarks.planted_audit``.

    python -m benchmarks.planted_audit --iu IU_XRAY --out docs/results/audit

A store of phantom studies and a folder of DICOM files are made, each plant and each near miss (what may be taken for a
plant, and is none) in studies or files of its own, and audited. Of IU X-ray, prepared as it is, counts are shown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.planted_audit.cases import (
    OWN_LABELS,
    Bases,
    Case,
    cases_in_text,
    cases_of_labels,
    cases_of_patients,
    cases_of_reports,
)
from benchmarks.planted_audit.films import cases_of_copies, cases_of_writing
from benchmarks.planted_audit.headers import write_headers
from benchmarks.planted_audit.table import Form, markdown

from crossray.data.audit.dicom_audit import audit_dicom
from crossray.data.audit.finding import Audit
from crossray.data.audit.store_audit import audit_store
from crossray.data.findings import FINDINGS
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.build import build_source
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.split_files import read_split
from crossray.data.splits import SIDES, Fold, SplitList
from crossray.data.store import Store
from crossray.data.study import Study
from crossray.versions import code_version, now, versions

SIZE = 256
PROTOCOL = "iu-rr-v1"


@dataclass(frozen=True)
class Judged:
    """A plant or near miss, and whether the audit named it."""

    kind: str
    form: str
    planted: bool
    named: bool


@dataclass(frozen=True)
class CaseSource:
    """The studies of all cases as a source of data."""

    items: tuple[Study, ...]
    name: str = "planted"
    label_names: tuple[str, ...] = (*FINDINGS, *OWN_LABELS)
    has_reports: bool = True

    def studies(self) -> Iterator[Study]:
        """All of them, in order."""
        return iter(self.items)

    def fingerprint(self) -> str:
        """Nothing is prepared twice from it."""
        return "planted"


def planted_cases(seed: int) -> list[Case]:
    """Every case, on phantom studies of its own."""
    bases = Bases(PhantomSource(PhantomConfig(seed=seed, count=10**6, difficulty="easy", size=SIZE)).studies())
    made = (cases_in_text, cases_of_patients, cases_of_reports, cases_of_labels, cases_of_copies, cases_of_writing)
    return [case for make in made for case in make(bases)]


def judged_store(cases: Sequence[Case], folder: Path) -> tuple[list[Judged], dict[str, int]]:
    """Each case and whether the audit names it; beside them, how much else each finding names."""
    studies = tuple(study for case in cases for study in case.studies)
    if prepare_store(CaseSource(studies), folder, PrepareConfig(size=SIZE)).manifest.studies != len(studies):
        raise AssertionError(f"some of the {len(studies)} studies were left out: see {folder / 'quarantine.csv'}")
    side_of = {study.study_id: side for case in cases for study, side in zip(case.studies, case.sides, strict=True)}
    sides = {side: tuple(study for study, own in side_of.items() if own == side) for side in SIDES}
    audit = audit_store(Store.open(folder), SplitList("planted", (Fold("fixed", **sides),)))
    found = {item.kind: [set(place.split(" = ")) for place in item.places] for item in audit.findings}
    judged, elsewhere = [], {case.kind: len(found[case.kind]) for case in cases}
    for case in cases:
        own = {study.study_id for study in case.studies}
        here = [place for place in found[case.kind] if place <= own]
        elsewhere[case.kind] -= len(here)
        row = "label in text" if case.kind.startswith("label in text: ") else case.kind
        judged.append(Judged(row, case.form, case.planted, bool(here)))
    return judged, elsewhere


def forms(judged: Sequence[Judged]) -> list[Form]:
    """How many of each form there are, and how many of them are named, in the order of the cases."""
    counted: dict[tuple[str, str, bool], list[bool]] = {}
    for one in judged:
        counted.setdefault((one.kind, one.form, one.planted), []).append(one.named)
    return [Form(*key, len(named), sum(named)) for key, named in counted.items()]


def judged_headers(folder: Path) -> list[Judged]:
    """Each DICOM file and whether something in it fails."""
    written = write_headers(folder)
    findings = audit_dicom(folder).findings
    failing = {place for item in findings if item.fails for place in item.places}
    described = {place for item in findings if item.kind.endswith("with an identifier") for place in item.places}
    judged = []
    for number, header in enumerate(written, start=1):
        named = described if header.kind.endswith("description") and header.planted else failing
        judged.append(Judged(header.kind, header.form, header.planted, f"file {number}" in named))
    return judged


def audit_of_iu(root: Path, folder: Path) -> Audit:
    """The audit of IU X-ray as its publisher ships it, with its protocol's folds."""
    prepare_store(build_source("iu_xray", root, {}), folder, PrepareConfig(size=SIZE))
    return audit_store(Store.open(folder), read_split(PROTOCOL))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=17, help="of the phantom studies")
    parser.add_argument("--iu", type=Path, help="the folder of IU X-ray, to be audited too")
    parser.add_argument("--out", type=Path, help="folder for audit.json and table.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = planted_cases(given.seed)
        judged, elsewhere = judged_store(cases, folder / "store")
        in_headers = judged_headers(folder / "dicom")
        iu = audit_of_iu(given.iu, folder / "iu") if given.iu is not None else None
    content: dict[str, Any] = {
        "command": f"python -m benchmarks.planted_audit --seed {given.seed}{' --iu IU_XRAY' if iu else ''}",
        "date": now(),
        "versions": {**versions(), "code": code_version(files("crossray"), frozenset())},
        "studies": sum(len(case.studies) for case in cases),
        "files": len(in_headers),
        "forms": forms([*judged, *in_headers]),
        "elsewhere": elsewhere,
        "iu_xray": None if iu is None else [[item.kind, item.found, item.looked_at] for item in iu.findings],
    }
    table = markdown(content)
    print(table)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        written = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (given.out / "audit.json").write_text(written, encoding="utf-8")
        (given.out / "table.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
