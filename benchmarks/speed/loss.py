"""The all-pairs word-region loss, forward and backward, against the loop of ``benchmarks.reference``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from benchmarks.reference.word_region_loss import GAMMA1, GAMMA2, GAMMA3, loop_loss
from benchmarks.speed.harness import Measured, Options, Side, interleaved, ratio_row, seconds_of
from benchmarks.speed.rows import LOSS_SHAPES
from torch import Tensor

from crossray.alignment.attended_cosine import gram_is_cheaper, pack_words
from crossray.alignment.contrastive import identity_positives, symmetric_info_nce
from crossray.alignment.local_similarity import local_similarity
from crossray.freed_memory import keep_freed_memory
from crossray.products import batched_product, product

WIDTH, SHORTEST, LONGEST = 768, 8, 60

Inputs = tuple[Tensor, Tensor, Tensor]


def our_loss(regions: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
    scores = local_similarity(regions, words, word_mask, gamma1=GAMMA1, gamma2=GAMMA2)
    losses = symmetric_info_nce(scores, identity_positives(len(scores)), scale=GAMMA3)
    return losses.image_to_text + losses.text_to_image


def inputs(pairs: int, regions: int, *, width: int = WIDTH, longest: int = LONGEST, seed: int = 0) -> Inputs:
    """Regions, words and their mask; lengths uniform in 8 … 60 (mean 34)."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(min(SHORTEST, longest), longest + 1, (pairs,), generator=generator)
    lengths[0] = longest
    mask = torch.arange(longest) < lengths.unsqueeze(1)
    made = [torch.randn(pairs, rows, width, generator=generator).mul_(0.2) for rows in (regions, longest)]
    return made[0].requires_grad_(), made[1].requires_grad_(), mask


def bare_products(regions: Tensor, words: Tensor, word_mask: Tensor) -> None:
    """The products of matrices that the loss cannot do without, forward and backward, and nothing else of it.

    Three between words and regions: scores, and their gradient to either side. Of the Gram matrices, where they are
    the cheaper way: their making, a product for the norms of contexts, one for the norms' gradient, and the way back.
    """
    with torch.no_grad():
        packed, flat = pack_words(words, word_mask).vectors, regions.flatten(0, 1)
        scores = product(packed, flat)
        by_film = scores.view(len(packed), *regions.shape[:2]).permute(1, 0, 2).contiguous()
        product(scores, flat.T)
        product(packed.T, scores.T)
        if gram_is_cheaper(regions, len(packed)):
            batched_product(by_film, batched_product(regions, regions))
            batched_product(batched_product(by_film.mT, by_film.mT), regions.mT)
        else:
            contexts = batched_product(by_film, regions.mT)
            batched_product(contexts, regions)
            batched_product(by_film.mT, contexts.mT)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ours": our_loss,
    "loop_padded": partial(loop_loss, padded=True),
    "loop_cut": loop_loss,
}


def forward_and_backward(loss: Callable[[Tensor, Tensor, Tensor], Tensor], given: Inputs) -> float:
    regions, words, mask = given
    regions.grad = words.grad = None
    value = loss(regions, words, mask)
    value.backward()  # type: ignore[no-untyped-call]
    return float(value.detach())


def measure(options: Options) -> list[Measured]:
    keep_freed_memory()  # for both sides: without it the loop asks the system for its contexts again and again
    padded, cut = [], []
    for regions, pairs in LOSS_SHAPES:
        given = inputs(options.pick(pairs, 3), options.pick(regions, 5), width=options.pick(WIDTH, 16))
        sides: dict[str, Side] = {name: partial(forward_and_backward, loss, given) for name, loss in LOSSES.items()}
        seconds = interleaved({**sides, "our products alone": partial(bare_products, *given)}, options.rounds)
        key = f"r{regions}_b{pairs}"
        padded.append(ratio_row(f"loss_{key}", seconds["loop_padded"], seconds["ours"], detail=seconds_of(seconds)))
        cut.append(ratio_row(f"loss_cut_{key}", seconds["loop_cut"], seconds["ours"]))
    return padded + cut
