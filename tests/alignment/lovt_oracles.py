"""LoVT's local terms written as the spec's sums: loops over pairs, items and positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def grid_positives_by_loop(rows: int, columns: int, threshold: float, decay: float) -> Tensor:
    """Section 3.2, one pair of regions at a time."""
    places = [(r, c) for r in range(rows) for c in range(columns)]
    raw = torch.zeros(len(places), len(places), dtype=torch.float64)
    for k, (r, c) in enumerate(places):
        for m, (s, d) in enumerate(places):
            squared = (r - s) ** 2 + (c - d) ** 2
            if squared <= threshold**2 * (rows**2 + columns**2):
                raw[k, m] = torch.exp(torch.tensor(-decay * (squared / (rows**2 + columns**2)) ** 0.5))
    return raw / raw.sum(1, keepdim=True)


def local_loss_by_loop(
    anchors: Tensor, contexts: Tensor, positives: Tensor, weights: Tensor, lengths: list[int], temperature: float
) -> Tensor:
    """Sections 3.3 and 3.4: the mean over pairs of the weighted losses of their first ``lengths`` items."""
    pairs = []
    for i, length in enumerate(lengths):
        share = weights[i, :length].detach() / weights[i, :length].detach().sum()
        total = 0 * anchors.sum()
        for k in range(length):
            row = [cosine(anchors[i, k], contexts[i, m]) / temperature for m in range(length)]
            column = [cosine(anchors[i, m], contexts[i, k]) / temperature for m in range(length)]
            for scores in (row, column):
                log_share = torch.stack(scores).log_softmax(0)
                total = total - share[k] * sum(positives[k, m] * log_share[m] for m in range(length)) / 2
        pairs.append(total)
    return torch.stack(pairs).mean()


def cosine(first: Tensor, second: Tensor) -> Tensor:
    result: Tensor = first @ second / (first.norm() * second.norm())
    return result


def contexts_by_loop(
    query: nn.Linear, value: nn.Linear, output: nn.Linear, regions: Tensor, sentences: Tensor
) -> tuple[Tensor, Tensor]:
    """Section 2.4 of one pair without padding, before batch norm: what ``[R, D]`` and ``[S, D]`` see in each other."""
    of_regions, of_sentences = [], []
    width = regions.shape[1]
    for region in regions:
        scores = torch.stack([query(region) @ query(sentence) / width**0.5 for sentence in sentences])
        of_regions.append(output(sum((a * value(s) for a, s in zip(scores.softmax(0), sentences, strict=True)))))
    for sentence in sentences:
        scores = torch.stack([query(region) @ query(sentence) / width**0.5 for region in regions])
        of_sentences.append(output(sum((a * value(r) for a, r in zip(scores.softmax(0), regions, strict=True)))))
    return torch.stack(of_regions), torch.stack(of_sentences)
