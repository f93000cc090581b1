"""NT-Xent: two views of a film find each other among all views of the batch (SimCLR; `lovt` spec, section 4.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.alignment.contrastive import cosine_matrix
from crossray.alignment.precision import without_autocast


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Mean over the 2B views of the cross-entropy of choosing the film's other view; scalar.

    ``first`` and ``second`` ``[B, D]`` are the two views, not normalised. A view chooses among the 2B - 1 others: it is
    no negative of itself.
    """
    with without_autocast(first):
        views = torch.cat([first, second])
        logits = cosine_matrix(views, views) / temperature
        count = len(first)
        own = logits.diagonal(offset=count)  # cosines are symmetric: each stands for both views of a film
        itself = torch.eye(2 * count, dtype=torch.bool, device=logits.device)
        return logits.masked_fill(itself, -torch.inf).logsumexp(dim=1).mean() - own.mean()
