"""The films of an index that are nearest to a sentence."""

from pathlib import Path

import typer

from crossray import plots
from crossray.data.store import Store
from crossray.inference.search.query import Query, search_for


def main(index: Path, store: Path, sentence: str, count: int = 4, out: Path = Path("search.png")) -> None:
    """Print score and report of each, and draw them."""
    found = search_for(index, Query(text=sentence, k=count), store=store)
    films = Store.open(store)
    row_of = {films.film(row).film_id: row for row in range(films.film_count)}
    for one in found:
        print(f"{one.hit.score:+.3f}  {one.hit.study_id}: {one.report}")
    pixels = list(films.pixels([row_of[str(one.hit.film_id)] for one in found]))
    scores = [one.hit.score for one in found]
    captions = [str(one.report) for one in found]
    plots.plot_retrieval(sentence, pixels, scores, captions).savefig(out, dpi=150)


if __name__ == "__main__":
    typer.run(main)
