"""What the HTTP interface may be asked: the bodies of its requests, bounded in every field."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    run: int = Field(default=0, ge=0, description="0 is RUN, 1 is --also")


class OneFilm(_Body):
    """A film by the handle that its upload gave."""

    film: str = Field(max_length=64)


class FilmAndPhrase(OneFilm):
    """A film, and a phrase as a radiologist would write it."""

    phrase: str = Field(min_length=1, max_length=1000)
    longest: int | None = Field(default=None, ge=16, le=4096, description="pixels of the map's long side, at most")


class FilmAndText(OneFilm):
    """A film and a report."""

    text: str = Field(min_length=1, max_length=20_000)


class Search(BaseModel):
    """A film or a text, of which the nearest of the index are wanted."""

    model_config = ConfigDict(extra="forbid")
    film: str | None = Field(default=None, max_length=64)
    text: str | None = Field(default=None, min_length=1, max_length=20_000)
    side: Literal["films", "reports"] = "reports"
    k: int = Field(default=5, ge=1, le=50)


class Batch(_Body):
    """Films and sentences, each compared with each."""

    films: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=16)
    sentences: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(min_length=1, max_length=64)
