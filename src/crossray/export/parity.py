"""How far an exported model is from the one that it was made of, on films of noise: nobody's pixels are needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossray.data.augment import ImageInputConfig, evaluation_view

FILMS = 6
LARGEST_DIFFERENCE = 1e-4

TEXTS = (
    "Small right pleural effusion. The heart is enlarged.",
    "No pneumothorax.",
    "There is a large left pleural effusion with atelectasis of the lower lobe, unchanged from the prior film.",
    "The lungs are clear.",
)


@dataclass(frozen=True)
class Parity:
    """The largest absolute difference of ``what`` between the export and the run."""

    what: str
    difference: float
    compared: int

    def __str__(self) -> str:
        return f"{self.what}: largest difference {self.difference:.1e} over {self.compared} inputs"


def noise_films(prepared_size: int, seed: int = 0) -> NDArray[np.uint8]:
    """``[FILMS, S, S]`` uint8, smooth enough that a trunk's features differ between them."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (FILMS, 8, 8))
    side = -(-prepared_size // 8)
    films: NDArray[np.uint8] = np.kron(coarse, np.ones((side, side)))[:, :prepared_size, :prepared_size].astype(
        np.uint8
    )
    return films


def views(image: ImageInputConfig, prepared_size: int) -> Tensor:
    """What the image encoder sees of them: ``[FILMS, 1, s, s]`` float32."""
    return evaluation_view(torch.from_numpy(noise_films(prepared_size)), image)


def difference(what: str, one: NDArray[np.floating] | Tensor, other: NDArray[np.floating] | Tensor) -> Parity:
    """Compare two arrays ``[N, ...]`` of one shape."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return Parity(what, float(np.abs(first - second).max(initial=0.0)), len(first))
