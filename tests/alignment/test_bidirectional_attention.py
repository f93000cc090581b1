from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from crossray.alignment.bidirectional_attention import cross_attention, sentence_cosines
from crossray.methods.lovt.alignment import AlignmentAttention

from .lovt_oracles import contexts_by_loop, cosine

LENGTHS = (3, 1, 2)


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask_of(lengths: tuple[int, ...], slots: int) -> Tensor:
    return torch.arange(slots) < torch.tensor(lengths).unsqueeze(1)


def test_attention_sums_to_one_over_what_is_real() -> None:
    mask = mask_of((3, 0, 2), 4)
    maps = cross_attention(some(3, 5, 6), some(3, 4, 6, seed=1), mask)
    has_text = mask.any(1).double()
    torch.testing.assert_close(maps.regions_to_sentences.sum(2), has_text.unsqueeze(1).expand(3, 5))
    torch.testing.assert_close(maps.sentences_to_regions.sum(2), mask.double())
    assert (maps.regions_to_sentences[:, :, 3] == 0).all()


@pytest.mark.parametrize("shared", [False, True])
def test_contexts_agree_with_the_loop_in_value_and_gradient(shared: bool) -> None:
    torch.manual_seed(0)
    module = AlignmentAttention(6, shared_statistics=shared).double()
    for layer in (module.query, module.value, module.output):
        nn.init.normal_(layer.bias)
    regions, sentences = some(3, 5, 6).requires_grad_(), some(3, 4, 6, seed=1).requires_grad_()
    mask = mask_of(LENGTHS, 4)
    contexts = module(regions, sentences, mask)
    by_pair = [
        contexts_by_loop(module.query, module.value, module.output, regions[i], sentences[i, :length])
        for i, length in enumerate(LENGTHS)
    ]
    norm = nn.BatchNorm1d(6).double()
    of_regions, of_sentences = (norm(torch.cat(parts)) for parts in zip(*by_pair, strict=True))
    torch.testing.assert_close(contexts.of_regions.flatten(0, 1), of_regions)
    torch.testing.assert_close(contexts.of_sentences[mask], of_sentences)
    weighing = some(6, seed=4)
    got = (contexts.of_regions @ weighing).square().sum() + (contexts.of_sentences[mask] @ weighing).pow(3).sum()
    want = (of_regions @ weighing).square().sum() + (of_sentences @ weighing).pow(3).sum()
    leaves = [regions, sentences, module.query.weight, module.value.weight, module.output.weight]
    for mine, theirs in zip(torch.autograd.grad(got, leaves), torch.autograd.grad(want, leaves), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("chunk_elements", [1, 40, 1 << 22])
def test_scores_of_all_pairs_agree_with_contexts_formed_one_by_one(chunk_elements: int) -> None:
    keys, contents = some(4, 5, 6), some(4, 5, 6, seed=1)
    queries, sentences = some(3, 4, 6, seed=2), some(3, 4, 6, seed=3)
    mask = mask_of((3, 0, 2), 4)
    scores = sentence_cosines(keys, contents, queries, sentences, mask, chunk_elements=chunk_elements)
    wanted = torch.zeros(4, 3, dtype=torch.float64)
    for n in range(4):
        for j, length in ((0, 3), (2, 2)):
            seen = [(queries[j, s] @ keys[n].T / 6**0.5).softmax(0) @ contents[n] for s in range(length)]
            wanted[n, j] = torch.stack([cosine(sentences[j, s], seen[s]) for s in range(length)]).mean()
    torch.testing.assert_close(scores, wanted)


def test_the_score_of_a_pair_is_the_cosine_of_its_sentences_with_their_contexts() -> None:
    torch.manual_seed(0)
    module = AlignmentAttention(6, shared_statistics=False).double()
    regions, sentences, mask = some(3, 5, 6), some(3, 4, 6, seed=1), mask_of(LENGTHS, 4)
    module(regions, sentences, mask)  # moves the running statistics
    module.eval()
    contexts = module(regions, sentences, mask).of_sentences
    cosines = nn.functional.cosine_similarity(contexts, sentences, dim=2).masked_fill(~mask, 0.0)
    wanted = cosines.sum(1) / mask.sum(1)
    torch.testing.assert_close(module.scores(regions, sentences, mask).diagonal(), wanted)
