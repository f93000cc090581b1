"""Plants and near misses as a table: found and falsely named, and in which forms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Form(NamedTuple):
    """Plants (or near misses) of one form: how many, and how many the audit named."""

    kind: str
    form: str
    planted: bool
    cases: int
    named: int


_HEAD = """
| kind | found / planted | near misses named / all | missed | named, but nothing is there |
| --- | ---: | ---: | --- | --- |
"""


def markdown(content: Mapping[str, Any]) -> str:
    """The tables, with their command, versions and day."""
    by_kind: dict[str, list[Form]] = defaultdict(list)
    for cells in content["forms"]:
        by_kind[cells[0]].append(Form(*cells))
    lines = [_line(kind, forms) for kind, forms in by_kind.items()]
    kept = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
    elsewhere = ", ".join(f"{kind} {count}" for kind, count in content["elsewhere"].items() if count) or "nothing"
    return (
        f"{content['studies']} phantom studies and {content['files']} DICOM files, each plant and each near miss in "
        f"studies or files of its own.\n{_HEAD}"
        + "\n".join(lines)
        + f"\n\nNamed in other studies than those of the kind's own row: {elsewhere}.\n"
        + _iu(content["iu_xray"])
        + f"\n- command: `{content['command']}`\n- {content['date']}; {kept}\n"
    )


def _line(kind: str, forms: Sequence[Form]) -> str:
    plants, near = ([one for one in forms if one.planted is planted] for planted in (True, False))
    cells = [
        kind,
        f"{sum(one.named for one in plants)} / {sum(one.cases for one in plants)}",
        f"{sum(one.named for one in near)} / {sum(one.cases for one in near)}" if near else "none made",
        _listed([(one, one.cases - one.named) for one in plants]),
        _listed([(one, one.named) for one in near]),
    ]
    return "| " + " | ".join(cells) + " |"


def _listed(forms: Sequence[tuple[Form, int]]) -> str:
    return "; ".join(
        one.form.replace("|", "\\|") + (f" ({count} of {one.cases})" if one.cases > 1 else "")
        for one, count in forms
        if count
    )


def _iu(findings: Sequence[Sequence[Any]] | None) -> str:
    if findings is None:
        return ""
    rows = "\n".join(f"| {kind} | {found} | {looked_at} |" for kind, found, looked_at in findings)
    head = "| kind | found | of |\n| --- | ---: | ---: |\n"
    return f"\nIU X-ray as its publisher ships it, with the folds of its protocol:\n\n{head}{rows}\n"
