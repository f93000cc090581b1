"""SigLIP's loss: every film with every report is a yes-or-no question of its own.

Equation: `baselines` spec, section 5.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.precision import full_precision, without_autocast


def pairwise_sigmoid_loss(scores: Tensor, positives: Tensor, *, scale: float | Tensor, bias: float | Tensor) -> Tensor:
    """Losses of films ``[N]``: the sum over reports of ``-log sigmoid(y (scale * score + bias))``.

    Args:
        scores: ``[N, M]`` cosines; the films may be a part of a batch, the reports all of it.
        positives: ``[N, M]`` bool, where y is +1; elsewhere it is -1.
        scale: one over the temperature.
        bias: negative at the start, because almost all pairs are.

    The published loss is the mean of these over films: normalised by B, not by B².
    """
    with without_autocast(scores):
        logits = scale * full_precision(scores) + bias
        signed = logits * positives.to(logits.dtype).mul(2).sub(1)
        return -F.logsigmoid(signed).sum(dim=1)
