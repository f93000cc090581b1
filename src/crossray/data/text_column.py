"""A column of text that stays in the mapped file: no string of it is made before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import SupportsIndex, TypeVar, overload

import pyarrow as pa

Text = TypeVar("Text", str, "str | None")


class TextColumn(Sequence[Text]):
    """An Arrow column of strings, read like a list (``None`` is null); equal to any sequence of the same strings.

    Ids as Python strings would take 60 bytes each in every process; mapped, they are pages of the file.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Text: ...

    @overload
    def __getitem__(self, place: slice) -> list[Text]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Text | list[Text]:
        if isinstance(place, slice):
            part: list[Text] = self._column[place].to_pylist()
            return part
        text: Text = self._column[place.__index__()].as_py()
        return text

    def __iter__(self) -> Iterator[Text]:
        for chunk in self._column.chunks:
            yield from chunk.to_pylist()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return repr(list(self))
