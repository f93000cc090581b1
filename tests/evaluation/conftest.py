"""A store of small drawn films and two tiny runs on it (one for each of two folds), made once for the session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.reports import parse_report
from crossray.data.split_files import write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.study import Box, Film, PhraseRegion, Span, Study
from crossray.settings import build_settings

if TYPE_CHECKING:
    from crossray.training.recipe import Recipe

STUDIES = 48


@dataclass(frozen=True)
class DrawnPixels:
    """A film with a bright patch at the left or right base, or none."""

    number: int
    side: str

    def read(self) -> NDArray[np.uint8]:
        film = np.random.default_rng(self.number).integers(20, 90, size=(40, 32)).astype(np.uint8)
        columns = {"left": slice(18, 30), "right": slice(2, 14), "none": slice(0, 0)}[self.side]
        film[26:38, columns] = 230
        return film


class DrawnSource:
    """Studies of which a third has a left, a third a right and a third no effusion; half the patients come twice."""

    name = "drawn"
    label_names: tuple[str, ...] = ("No Finding", "Pleural Effusion", "Fracture")
    has_reports = True

    def studies(self) -> Iterator[Study]:
        for number in range(STUDIES):
            side = ("left", "right", "none")[number % 3]
            words = f"small {side} pleural effusion" if side != "none" else "no pleural effusion"
            report = parse_report(f"FINDINGS: There is {words}. Heart number {number} is normal.")
            film_id = f"film{number}"
            start = report.text.index(words)
            x = 18.0 if side == "left" else 2.0
            box = Box("Pleural Effusion", x, 26.0, x + 12.0, 38.0)
            region = PhraseRegion(film_id, "Pleural Effusion", Span(start, start + len(words)), (box,))
            yield Study(
                study_id=f"s{number:02d}",
                patient_id=f"p{number - number % 2 if number % 4 < 2 else number}",
                films=(Film(film_id, "frontal", DrawnPixels(number, side)),),
                report=report,
                labels={
                    "No Finding": float(side == "none"),
                    "Pleural Effusion": float(side != "none"),
                    "Fracture": 0.0,
                },
                phrase_regions=(region,) if side != "none" else (),
            )

    def fingerprint(self) -> str:
        return "drawn-1"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``store``, ``split.json`` and ``runs/fold0``, ``runs/fold1``."""
    folder = tmp_path_factory.mktemp("trained")
    prepare_store(DrawnSource(), folder / "store", build_settings(PrepareConfig, {"size": 40}), workers=1)
    ids = [f"s{number:02d}" for number in range(STUDIES)]
    folds = (
        Fold("0", train=tuple(ids[24:]), validation=tuple(ids[16:24]), test=tuple(ids[:16])),
        Fold("1", train=tuple(ids[:16] + ids[40:]), validation=tuple(ids[32:40]), test=tuple(ids[16:32])),
    )
    write_split(SplitList("drawn", folds), folder / "split.json")
    # Imported here: most tests of this room need no model, and the import takes its seconds.
    from crossray.training.pretrain import pretrain

    for fold in folds:
        pretrain(_recipe(folder, fold.name), folder / "runs" / f"fold{fold.name}")
    return folder


def _recipe(folder: Path, fold: str) -> Recipe:
    from crossray.training.recipe import Recipe

    return build_settings(
        Recipe,
        {
            "data": {"store": str(folder / "store"), "split": str(folder / "split.json"), "fold": fold},
            "image": {"size": 32},
            "text_encoder": {"layers": 1, "width": 32, "vocabulary_size": 200, "max_tokens": 40},
            "method": {"name": "global_local"},
            "training": {"epochs": 1, "batch_size": 8},
            "runtime": {"progress": False, "tensorboard": False},
        },
    )
