"""Where in a film a phrase points."""

from pathlib import Path

import numpy as np
import typer

import crossray
from crossray import plots


def main(run: Path, film: Path, phrase: str, out: Path = Path("grounding.png")) -> None:
    """Print the strongest place, in pixels of the film, and draw the map."""
    heat = crossray.load(run).ground(film, phrase)  # [height, width] of the film itself
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    print(f"strongest at x {column}, y {row} of {heat.shape[1]} x {heat.shape[0]}")
    plots.plot_grounding(film, heat, phrase).savefig(out, dpi=150)


if __name__ == "__main__":
    typer.run(main)
