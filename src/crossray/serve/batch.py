"""What ``/api/batch`` answers: every film with every sentence, and an error of its own for a film that has none."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from crossray.errors import CrossRayError
from crossray.inference.embed import unit
from crossray.serve.engine import LoadedRun
from crossray.serve.limits import NOTICE
from crossray.serve.shelf import Film, FilmShelf, UnknownFilmError


class Compared(BaseModel):
    """Cosines of films and sentences."""

    cosines: list[list[float] | None] = Field(description="of each film, in order, with each sentence")
    errors: dict[str, str] = Field(description="by the film's handle, why its cosines are null")
    notice: str = NOTICE


def compare(run: LoadedRun, shelf: FilmShelf, handles: Sequence[str], sentences: list[str]) -> Compared:
    """Embed the films together and the sentences together.

    Raises:
        Exception: of the first film, if not one of them has a vector: then there is nothing to answer.
    """
    errors: dict[str, Exception] = {}
    films: dict[str, Film] = {}
    for handle in dict.fromkeys(handles):
        try:
            films[handle] = shelf.get(handle)
        except UnknownFilmError as error:
            errors[handle] = error
    vectors = {}
    for handle, found in zip(films, run.embeddings(list(films.values())), strict=True):
        if isinstance(found, Exception):
            errors[handle] = found
        else:
            vectors[handle] = unit(found.pooled.numpy())[0]
    if not vectors:
        raise errors[handles[0]]
    cosines = np.stack(list(vectors.values())) @ run.text_vectors(sentences).T
    by_film = dict(zip(vectors, cosines.tolist(), strict=True))
    return Compared(
        cosines=[by_film.get(handle) for handle in handles],
        errors={handle: _in_words(error) for handle, error in errors.items()},
    )


def _in_words(error: Exception) -> str:
    """Without the place: paths of the server are not told."""
    if isinstance(error, CrossRayError):
        return f"{error.problem} {error.remedy or ''}".strip()
    logging.getLogger("uvicorn.error").error("A film of a batch was not embedded.", exc_info=error)
    return "The server made a mistake with this film; its log says which."
