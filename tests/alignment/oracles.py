"""The slow, literal forms: loops over films and reports, contexts formed."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_by_loop(regions: Tensor, words: Tensor, gamma1: float) -> Tensor:
    """Attention ``[W, R]`` of one film's ``regions [R, D]`` and one report's real ``words [W, D]``."""
    scores = regions @ words.T
    over_words = scores.softmax(dim=1)
    return (gamma1 * over_words).softmax(dim=0).T


def local_similarity_by_loop(
    regions: Tensor, words: Tensor, word_mask: Tensor, *, gamma1: float, gamma2: float, aggregation: str
) -> Tensor:
    rows = []
    for film in regions:
        row = []
        for report, mask in zip(words, word_mask, strict=True):
            real = report[mask]
            if len(real) == 0:
                row.append(0 * film.sum())
                continue
            context = attention_by_loop(film, real, gamma1) @ film
            cosine = (context * real).sum(1) / (context.norm(dim=1) * real.norm(dim=1)).clamp_min(1e-8)
            if aggregation == "max":
                row.append(gamma2 * cosine.max())
            elif aggregation == "mean":
                row.append((gamma2 * cosine).exp().mean().log())
            else:
                row.append((gamma2 * cosine).exp().sum().log())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def info_nce_by_loop(logits: Tensor, positives: Tensor, other_positives: str) -> Tensor:
    losses = []
    for i, row in enumerate(logits):
        others = [j for j in range(len(row)) if j != i and bool(positives[i, j])]
        if other_positives == "masked":
            kept = [j for j in range(len(row)) if j not in others]
            losses.append(row[kept].logsumexp(0) - row[i])
        else:
            targets = [i, *others]
            losses.append(-torch.stack([row.log_softmax(0)[j] for j in targets]).mean())
    return torch.stack(losses).mean()


def triplet_by_loop(scores: Tensor, negatives: list[int | None], margin: float) -> tuple[Tensor, Tensor]:
    """Film to report and report to film; a pair whose negative is ``None`` costs nothing."""
    image_to_text, text_to_image = [], []
    for i, n in enumerate(negatives):
        own = scores[i, i]
        image_to_text.append(0 * own if n is None else (scores[i, n] - own + margin).clamp_min(0))
        text_to_image.append(0 * own if n is None else (scores[n, i] - own + margin).clamp_min(0))
    return torch.stack(image_to_text).mean(), torch.stack(text_to_image).mean()


def pairwise_sigmoid_by_loop(scores: Tensor, positives: Tensor, scale: float, bias: float) -> Tensor:
    """Each film's sum over reports, question by question."""
    losses = []
    for row, wanted in zip(scores, positives, strict=True):
        yes = [(scale * score + bias).sigmoid() for score in row]
        losses.append(-torch.stack([(p if is_so else 1 - p).log() for p, is_so in zip(yes, wanted, strict=True)]).sum())
    return torch.stack(losses)


def nt_xent_by_loop(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    views, count = torch.cat([first, second]), len(first)
    losses = []
    for i in range(2 * count):
        cosines = {j: views[i] @ views[j] / (views[i].norm() * views[j].norm()) for j in range(2 * count) if j != i}
        scores = {j: (cosine / temperature).exp() for j, cosine in cosines.items()}
        losses.append(-(scores[(i + count) % (2 * count)] / torch.stack(list(scores.values())).sum()).log())
    return torch.stack(losses).mean()


def sinkhorn_by_loop(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """The published order: prototypes to equal mass, then samples, on exponentials."""
    mass = (scores / epsilon).exp()
    mass = mass / mass.sum()
    for _ in range(iterations):
        for k in range(mass.shape[1]):
            mass[:, k] = mass[:, k] / mass[:, k].sum() / mass.shape[1]
        for i in range(mass.shape[0]):
            mass[i] = mass[i] / mass[i].sum() / mass.shape[0]
    return mass * mass.shape[0]


def clipped_shares_by_loop(weights: Tensor, low: float, high: float) -> Tensor:
    rows = []
    for row in weights:
        there = row > 0
        if not there.any():
            rows.append(torch.zeros_like(row))
            continue
        least, most = (torch.quantile(row[there], share) for share in (low, high))
        clipped = torch.where(there, row.clamp(least, most), 0.0)
        rows.append(clipped / clipped.sum())
    return torch.stack(rows)


def token_contrast_by_loop(
    items: Tensor, others: Tensor, weights: Tensor, temperature: float, *, others_seen: int, normalise: bool
) -> Tensor:
    """MGCA's contrast of one pair: ``items [N, D]`` look at the first ``others_seen`` of ``others``; unit vectors."""
    contexts = []
    for item in items:
        share = torch.stack([item @ other / temperature for other in others[:others_seen]]).softmax(0)
        context = (share.unsqueeze(1) * others[:others_seen]).sum(0)
        contexts.append(context / context.norm() if normalise else context)
    total = torch.zeros((), dtype=items.dtype)
    for i, weight in enumerate(weights):
        row = torch.stack([items[i] @ context / temperature for context in contexts])
        column = torch.stack([item @ contexts[i] / temperature for item in items])
        total = total + weight * (row.logsumexp(0) - row[i] + column.logsumexp(0) - column[i]) / 2
    return total
