"""Films and reports that share prototypes: balanced assignment, and each side predicting the other's.

Equations: `baselines` spec, section 3 (c).
"""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.alignment.precision import full_precision, without_autocast


@torch.no_grad()
def sinkhorn_codes(scores: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Codes ``[B, K]`` of samples over prototypes, each summing to 1 and all together nearly even; no gradient.

    Args:
        scores: ``[B, K]`` of each sample with each prototype.
        epsilon: small is sharp.
        iterations: of scaling, first every prototype to an equal share of all mass, then every sample. Samples come
            last, so that their codes sum to 1 however few the iterations.

    Works on logarithms: exp(score / 0.05) would leave half precision at a score of 0.56.
    """
    with without_autocast(scores):
        mass = full_precision(scores) / epsilon
        for _ in range(iterations):
            mass = mass - mass.logsumexp(dim=0, keepdim=True)
            mass = mass - mass.logsumexp(dim=1, keepdim=True)
        return mass.exp()


def swapped_prediction(first: Tensor, second: Tensor, *, epsilon: float, iterations: int, temperature: float) -> Tensor:
    """Mean cross-entropy of each side's prediction with the other side's codes, both ways halved; scalar.

    ``first`` and ``second`` ``[B, K]`` are the scores of films and of their reports with the prototypes.
    """
    with without_autocast(first):
        codes = [sinkhorn_codes(side, epsilon=epsilon, iterations=iterations) for side in (first, second)]
        predictions = [(full_precision(side) / temperature).log_softmax(dim=1) for side in (first, second)]
        of_second = -(codes[0] * predictions[1]).sum(dim=1).mean()
        of_first = -(codes[1] * predictions[0]).sum(dim=1).mean()
        return (of_first + of_second) / 2
