"""Vectors of films, and how alike the films are."""

from pathlib import Path

import typer

import crossray


def main(run: Path, films: list[Path]) -> None:
    """Print the cosine of every pair of films."""
    model = crossray.load(run)
    vectors = model.embed_images(films)  # [films, width], of length 1
    print(f"{len(films)} vectors of width {vectors.shape[1]}")
    for film, cosines in zip(films, vectors @ vectors.T, strict=True):
        print(film.name, " ".join(f"{cosine:+.3f}" for cosine in cosines))


if __name__ == "__main__":
    typer.run(main)
