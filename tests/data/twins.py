"""Layout twins for the tests of sources: written small, read back, sorted by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crossray.data.sources.base import Rejected, Remark, Source
from crossray.data.sources.build import build_source
from crossray.data.study import Study
from crossray.data.twins.build import write_twin
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

CONFIG = TwinConfig(count=16, size=64)


@dataclass
class Found:
    """What a source yields, by kind."""

    studies: dict[str, Study] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    @property
    def rules(self) -> list[str]:
        return [item.rule for item in self.rejected]


def found_in(source: Source) -> Found:
    """Go through a source once."""
    return sort_items(source.studies())


def sort_items(items: Iterable[Study | Rejected | Remark]) -> Found:
    found = Found()
    for item in items:
        if isinstance(item, Study):
            assert item.study_id not in found.studies, f"'{item.study_id}' came twice"
            found.studies[item.study_id] = item
        elif isinstance(item, Rejected):
            found.rejected.append(item)
        else:
            found.remarks.append(item)
    return found


def make_twin(name: str, folder: Path) -> list[TwinStudy]:
    """Write the twin of a source into ``folder`` and give what it was made of."""
    write_twin(name, folder, CONFIG)
    return twin_studies(CONFIG)


def replace_in(path: Path, old: str, new: str) -> None:
    """Change the first place of a text file where ``old`` stands; it must stand there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} holds no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def make_twins(names: Iterable[str], home: Path) -> Path:
    """``home`` with the twin of each set under its name."""
    for name in names:
        make_twin(name, home / name)
    return home


def of_twin(twins: Path, name: str, **options: object) -> Source:
    """The source of a twin that :func:`make_twins` made."""
    return build_source(name, twins / name, {"expected_counts": "twin", **options})
