"""Retrieval on the validation pairs while a model trains: a figure to select weights by.

Training knows nothing of evaluation; the command line passes this validator in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from crossray.data.batch import PairBatch
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.retrieval import fuse, retrieval_ranks
from crossray.methods.base import Method


class RetrievalValidator:
    """R@K both ways over all validation pairs, by the same fused score as the evaluation.

    ``recall_mean`` is the mean of all R@K of both directions, as a share.
    """

    def __init__(self, recall_at: tuple[int, ...] = (1, 5, 10)) -> None:
        self._recall_at = recall_at
        ways = ("image_to_text", "text_to_image")
        self.names: tuple[str, ...] = ("recall_mean", *(f"recall@{k}_{way}" for way in ways for k in recall_at))

    @torch.no_grad()
    def __call__(self, method: Method, batches: Callable[[], Iterator[PairBatch]]) -> Mapping[str, float]:
        """The figures of a model in evaluation mode."""
        pairs = list(batches())
        groups = torch.cat([batch.text_group for batch in pairs]).cpu().numpy()
        images = [method.embed_images(batch.pixels) for batch in pairs]
        rows: list[list[FloatArray]] = []
        local_rows: list[list[FloatArray]] = []
        for batch in pairs:
            texts = method.embed_texts(batch.tokens)
            scores = [method.similarity(films, texts, purpose="retrieval") for films in images]
            rows.append([score.global_scores.double().cpu().numpy() for score in scores])
            local_rows.append([s.local_scores.double().cpu().numpy() for s in scores if s.local_scores is not None])
        local = _joined(local_rows, groups) if local_rows[0] else None
        to_text, to_image = fuse(_joined(rows, groups), local)
        ranks = retrieval_ranks(to_text, groups, to_image)
        hits = [counts.hits(k).mean() for counts in (ranks.image_to_text, ranks.text_to_image) for k in self._recall_at]
        return dict(zip(self.names, [float(np.mean(hits)), *map(float, hits)], strict=True))


def _joined(blocks: list[list[FloatArray]], groups: NDArray[np.int64]) -> FloatArray:
    """Scores ``[N, N]`` of blocks (text batch by film batch); identical texts get exactly the same column."""
    whole = np.concatenate([np.concatenate(films) for films in blocks], axis=1)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    return whole[:, first[group]]
