"""The part of a BERT that does not learn, and what it has made of each report: computed once, then looked up.

Embeddings and first layers that are frozen and run without dropout give a report the same states at every step. With
two of three layers frozen, that is most of what a text costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossray.alignment.precision import full_precision
from crossray.data.batch import TokenBatch
from crossray.devices import to_device

#: Tokens kept at most: at a width of 384 their states are 1.5 GB. Reports that come later are computed each time.
TOKENS_KEPT = 1_000_000


class FrozenStates:
    """States ``[B, L, C]`` of reports after the embeddings and the first ``layers`` of a BERT; zeros on padding.

    Args:
        bert: of transformers, attending through SDPA. It is not owned: its weights stay those of its module.
        layers: at least one.
        most_tokens: bound on what is kept.
    """

    def __init__(self, bert: Any, layers: int, most_tokens: int = TOKENS_KEPT) -> None:
        self._bert, self._layers, self._most_tokens = bert, layers, most_tokens
        self.forget()

    def forget(self) -> None:
        """To be called when the weights change."""
        self._first: dict[bytes, int] = {}  # report -> row of its first token in the table
        self._table = torch.zeros(0, 0)
        self._used = 0

    def of(self, tokens: TokenBatch) -> Tensor:
        """The states; reports that are not known yet go through the layers together.

        What is known is looked up by the words themselves, read where the batch was before it went to its device: so
        the host never waits for it.
        """
        readable = tokens.readable
        lengths = readable.attention_mask.sum(dim=1).tolist()
        ids = readable.input_ids.cpu().numpy()
        keys = [own[:length].tobytes() for own, length in zip(ids, lengths, strict=True)]
        new = {key: row for row, key in enumerate(keys) if key not in self._first}
        if self._used + sum(lengths[row] for row in new.values()) > self._most_tokens:
            return self._compute(tokens.input_ids, tokens.attention_mask)
        if new:
            self._keep(tokens, new, lengths)
        first = to_device(np.array([self._first[key] for key in keys]), tokens.input_ids.device)
        place = torch.arange(tokens.input_ids.shape[1], device=first.device)
        rows = (first.unsqueeze(1) + place).masked_fill(~tokens.attention_mask, 0)
        return self._table[rows].masked_fill(~tokens.attention_mask.unsqueeze(2), 0.0)

    def _keep(self, tokens: TokenBatch, new: dict[bytes, int], lengths: list[int]) -> None:
        device, own = tokens.input_ids.device, np.array([lengths[row] for row in new.values()])
        longest = int(own.max())
        rows = to_device(np.array(list(new.values())), device)
        states = self._compute(tokens.input_ids[rows, :longest], tokens.attention_mask[rows, :longest])
        real = to_device(np.flatnonzero(np.arange(longest) < own[:, None]), device)
        kept = states.flatten(0, 1)[real]
        self._first |= dict(zip(new, (self._used + own.cumsum() - own).tolist(), strict=True))
        self._make_room(len(kept), kept)
        self._table[self._used : self._used + len(kept)] = kept
        self._used += len(kept)

    def _make_room(self, count: int, like: Tensor) -> None:
        """Room for so many more rows; the table doubles, so that copying stays cheap."""
        if self._used + count <= len(self._table):
            return
        larger = like.new_zeros(max(2 * len(self._table), self._used + count), like.shape[1])
        if self._used:
            larger[: self._used] = self._table[: self._used]
        self._table = larger

    @torch.no_grad()
    def _compute(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = through_layers(self._bert.embeddings(input_ids=ids), mask, self._bert.encoder.layer[: self._layers])
        return full_precision(states[-1]).masked_fill(~mask.unsqueeze(2), 0.0)


def through_layers(states: Tensor, mask: Tensor, layers: Any) -> list[Tensor]:
    """What each of some layers of a BERT makes of ``states [B, L, C]``, the states themselves first.

    ``mask [B, L]`` bool, True = real; given to SDPA as it is.
    """
    found = [states]
    for layer in layers:
        output = layer(found[-1], attention_mask=mask[:, None, None, :])
        found.append(output[0] if isinstance(output, tuple) else output)  # a tuple before transformers 5
    return found
