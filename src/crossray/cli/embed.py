"""``crossray embed``: vectors of films or texts, as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from crossray.inference.embed import Embeddings
    from crossray.inference.embed_store import StoreEmbedding

_FILMS = "The folder or URL of a store, or films: DICOM, PNG, JPEG."
_TEXT = "A sentence instead of films. Repeatable."
_SHARD = "1/4: make only this share of a store's films; called without it at last, they are put together."
_SPACE = "joint: length 1, comparable with texts; trunk: pooled features of the image encoder."


def embed(
    run: Annotated[Path, typer.Argument(help="The run whose model embeds.")],
    out: Annotated[Path, typer.Option(help="An .npz that gets names [N] and vectors [N, D].")],
    films: Annotated[list[str] | None, typer.Argument(help=_FILMS, show_default=False)] = None,
    text: Annotated[list[str] | None, typer.Option(help=_TEXT, show_default=False)] = None,
    space: Annotated[Literal["joint", "trunk"], typer.Option(help=_SPACE)] = "joint",
    checkpoint: Annotated[str, typer.Option(help="Which weights: best or last.")] = "best",
    batch_size: Annotated[int, typer.Option(help="Films embedded at once.", min=1)] = 32,
    shard: Annotated[str | None, typer.Option(help=_SHARD)] = None,
) -> None:
    """Write the vectors of films or of texts. Research only, not for diagnosis.

    Of a store it does so part by part: killed and called again, it goes on where it was.
    """
    from crossray.data.progress import film_progress
    from crossray.data.streaming.settings import is_url
    from crossray.errors import ConfigError
    from crossray.inference.embed import embed_films, embed_texts
    from crossray.inference.embed_store import StoreEmbedding

    if bool(films) == bool(text):
        raise ConfigError("give either films or --text.", field="FILMS, --text")
    if films and len(films) == 1 and (is_url(films[0]) or Path(films[0]).is_dir()):
        _embed_store(StoreEmbedding(run, films[0], out, space, checkpoint, batch_size), shard)
        return
    if shard is not None:
        raise ConfigError(
            "only the films of a store are shared.",
            field="--shard",
            remedy="Give the folder or URL of a store, or no --shard.",
        )
    if text:
        found = embed_texts(run, text, checkpoint=checkpoint, batch_size=batch_size)
    else:
        with film_progress() as show:
            paths = [Path(film) for film in films or ()]
            found = embed_films(run, paths, space=space, checkpoint=checkpoint, batch_size=batch_size, progress=show)
    found.save(out)
    _tell(found, out)


def _embed_store(asked: StoreEmbedding, shard: str | None) -> None:
    from crossray.data.prepare import Share
    from crossray.data.progress import film_progress
    from crossray.inference.embed_store import embed_share, embed_store

    with film_progress() as show:
        if shard is not None:
            made = embed_share(asked, Share.of(shard), show)
            typer.echo(f"Share {shard}: {made} parts are made. Call it without --shard when all shares are.")
            return
        found = embed_store(asked, show)
    _tell(found, asked.out)


def _tell(found: Embeddings, out: Path) -> None:
    typer.echo(f"Written: {out} ({len(found.names)} vectors of {found.vectors.shape[1]} numbers)")
