"""Tables of results in files, whatever their rows are: rows as CSV, and a table read back from JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from crossray.errors import DataError
from crossray.settings import Settings, build_settings

TableT = TypeVar("TableT", bound=Settings)


def json_text(table: BaseModel) -> str:
    """A table as it is written: readable, and with no NaN in it."""
    return json.dumps(table.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def rows_as_csv(rows: Sequence[BaseModel], kind: type[BaseModel]) -> str:
    """One line a row, under the names of the fields of ``kind``."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(kind.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    return buffer.getvalue()


def read_table_of(kind: type[TableT], path: Path, *, remedy: str) -> TableT:
    """A table from its JSON file.

    Raises:
        DataError: there is no readable table there.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"holds no results ({error}).", file=path, remedy=remedy) from error
    if not isinstance(content, dict):
        raise DataError("holds no results: it is no JSON object.", file=path, remedy=remedy)
    return build_settings(kind, content, file=path)


def finite(value: float) -> float | None:
    """The value, or nothing where it is not a number that JSON knows."""
    return float(value) if math.isfinite(value) else None
