"""Sizes of films that a head can work with."""

from __future__ import annotations

from crossray.errors import ConfigError


def require_multiple(size: tuple[int, int], factor: int, head: str) -> None:
    """Refuse films whose maps would not double from stride to stride.

    Raises:
        ConfigError: a side is no multiple of ``factor``.
    """
    if size[0] % factor or size[1] % factor:
        raise ConfigError(
            f"{head} takes films whose sides are multiples of {factor}, not {size[0]} x {size[1]}.",
            field="image.size",
            remedy=f"Choose {max(factor, round(size[0] / factor) * factor)}.",
        )
