"""The cosine between each word and what it attends to in each film, without forming the contexts.

For region vectors v_r of a film and the words e_w of a report (`global_local` spec, section 3.2):

    s_rw = v_r . e_w,   p_rw = softmax over the report's words,   a_wr = softmax over regions of gamma1 * p_rw,
    c_w = sum_r a_wr v_r,   result = cos(c_w, e_w)

Neither c nor anything of size N x P x D is needed: c . e = sum_r a_r s_r with s already there, and |c|^2 = a^T G a
with the Gram matrix G = V V^T of the film. Between forward and backward the inputs are kept, and as much of what the
backward pass needs as fits in ``kept_elements`` numbers: first the scores s, then G a, then p and a. The rest is made
again: G a and s at the price of a product of matrices each, beside the three that cannot be saved; p and a at that of
ten passes over memory. While a chunk of p words is worked on, about eight tensors of ``p * N * R`` numbers exist;
``p * N * R`` is at most ``chunk_elements``, or one report's words where those alone are more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from crossray.alignment.segments import segment_softmax_, segment_sum
from crossray.devices import to_device
from crossray.products import batched_product, product

CHUNK_ELEMENTS = 1 << 22
"""Eight such tensors take 128 MiB. With a quarter of it, products of matrices are too small to be fast."""

KEPT_ELEMENTS = 1 << 27
"""What is kept for the backward pass, at most (half a gigabyte): the scores of 256 pairs of 49 regions and 40 words,
or all of 128 pairs of 49 regions and 40 words."""

_SMALLEST_NORM_PRODUCT = 1e-8


@dataclass(frozen=True)
class PackedWords:
    """The real words of M reports, one after the other.

    Attributes:
        vectors: ``[P, D]``.
        report: ``[P]`` int64, the report that a word belongs to, ascending.
        count: ``[M]`` int64, words of each report; 0 for an empty one.
        lengths: the same as numbers.
    """

    vectors: Tensor
    report: Tensor
    count: Tensor
    lengths: tuple[int, ...]


def pack_words(words: Tensor, word_mask: Tensor) -> PackedWords:
    """The real items of ``words [M, W, D]`` by ``word_mask [M, W]``.

    What is worked on has the mask's number of words, so it is read: at once if it lies with the host.
    """
    mask = word_mask.cpu()
    count = mask.sum(dim=1)
    report, position = (to_device(index, words.device) for index in mask.nonzero(as_tuple=True))
    return PackedWords(words[report, position], report, to_device(count, words.device), tuple(count.tolist()))


def attended_cosine(
    regions: Tensor,
    words: PackedWords,
    *,
    gamma1: float,
    chunk_elements: int = CHUNK_ELEMENTS,
    kept_elements: int = KEPT_ELEMENTS,
) -> Tensor:
    """``[P, N]``: cos(c_w, e_w) of every packed word with every film of ``regions [N, R, D]``.

    Differentiable once, in ``regions`` and ``words.vectors``. Denominators are clamped at 1e-8.
    """
    with_gradient = torch.is_grad_enabled() and (regions.requires_grad or words.vectors.requires_grad)
    result: Tensor = _AttendedCosine.apply(
        regions,
        words.vectors,
        words.report,
        words.lengths,
        gamma1,
        chunk_elements,
        kept_elements if with_gradient else 0,
    )
    return result


class _AttendedCosine(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        regions: Tensor,
        words: Tensor,
        report: Tensor,
        lengths: tuple[int, ...],
        gamma1: float,
        chunk_elements: int,
        kept_elements: int,
    ) -> Tensor:
        films = _Films(regions, len(words))
        elements = len(words) * films.elements_per_word
        tensors = kept_elements // max(elements, 1)
        cosines = words.new_empty(len(words), len(regions))
        kept: list[Tensor | None] = []
        for chunk in _chunks(lengths, films.elements_per_word, chunk_elements):
            part = _Part(words[chunk.words], report[chunk.words] - chunk.first, chunk.count, _Kept())
            attention = _Attention(films, part, gamma1, for_backward=tensors >= 2)
            cosines[chunk.words] = attention.cosine
            kept += attention.kept(tensors)
        ctx.save_for_backward(regions, words, report, *kept)
        ctx.lengths, ctx.gamma1, ctx.chunk_elements = lengths, gamma1, chunk_elements
        return cosines

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        regions, words, report, *tensors = ctx.saved_tensors
        films = _Films(regions, len(words))
        grad_regions = torch.zeros_like(films.flat)
        grad_words = torch.empty_like(words)
        for number, chunk in enumerate(_chunks(ctx.lengths, films.elements_per_word, ctx.chunk_elements)):
            kept = _Kept(*tensors[number * _Kept.COUNT : (number + 1) * _Kept.COUNT])
            part = _Part(words[chunk.words], report[chunk.words] - chunk.first, chunk.count, kept)
            attention = _Attention(films, part, ctx.gamma1, for_backward=True)
            grad_scores, grad_word_norm = attention.backward(grad[chunk.words])
            grad_regions += product(part.words.T, grad_scores.T).T
            grad_words[chunk.words] = product(grad_scores, films.flat.T) + grad_word_norm.unsqueeze(1) * part.words
        grad_regions += films.grad_of_norms().reshape_as(grad_regions)
        return grad_regions.view_as(regions), grad_words, None, None, None, None, None


def gram_is_cheaper(regions: Tensor, words: int) -> bool:
    """Whether Gram matrices of ``regions [N, R, D]`` save multiplications: of a film, R R D and R R a word or 2 R D."""
    _, size, width = regions.shape
    return size * size * (width + words) <= 2 * words * size * width


class _Films:
    """Region vectors and, where it is cheaper, their Gram matrices; collects the gradient of the context norms."""

    def __init__(self, regions: Tensor, words: int) -> None:
        self.regions = regions
        self.count, self.size, width = regions.shape
        self.flat = regions.reshape(-1, width)
        self.elements_per_word = self.count * self.size
        self.gram = batched_product(regions, regions) if gram_is_cheaper(regions, words) else None
        self._outer = torch.zeros_like(self.gram) if self.gram is not None else torch.zeros_like(regions)

    def norms(self, attention: Tensor) -> Tensor:
        """``|c|^2`` ``[p, N]`` of attention ``[p, N, R]``."""
        if self.gram is not None:
            return torch.einsum("pnr,pnr->pn", attention, self.half_norm_grad(attention))
        return batched_product(attention.transpose(0, 1), self.regions.mT).square().sum(dim=2).T

    def half_norm_grad(self, attention: Tensor) -> Tensor:
        """Half the gradient of ``|c|^2`` in the attention, ``[p, N, R]``; times the attention it is ``|c|^2``."""
        by_film = attention.transpose(0, 1)
        if self.gram is not None:
            return batched_product(by_film, self.gram).transpose(0, 1)  # Gram matrices are symmetric
        return batched_product(batched_product(by_film, self.regions.mT), self.regions).transpose(0, 1)

    def add_grad_of_norms(self, attention: Tensor, grad: Tensor) -> None:
        """Note the gradient ``grad [p, N]`` of ``|c|^2`` for the regions, of attention ``[p, N, R]``."""
        by_film = attention.transpose(0, 1)
        weighted = (attention * grad.unsqueeze(2)).permute(1, 2, 0)
        other = by_film if self.gram is not None else batched_product(by_film, self.regions.mT)
        self._outer += batched_product(weighted, other.mT)

    def grad_of_norms(self) -> Tensor:
        """The gradient noted so far, ``[N, R, D]``."""
        return 2 * (batched_product(self._outer, self.regions.mT) if self.gram is not None else self._outer)


@dataclass(frozen=True)
class _Kept:
    """What the backward pass need not make again of a chunk, each ``[p, N, R]``; None: not kept."""

    COUNT: ClassVar[int] = 4

    scores: Tensor | None = None
    half_norm_grad: Tensor | None = None
    word_softmax: Tensor | None = None
    attention: Tensor | None = None


@dataclass(frozen=True)
class _Part:
    """The words of one chunk ``[p, D]`` with their reports, counted from 0, and what was kept of them."""

    words: Tensor
    report: Tensor
    reports: int
    kept: _Kept


class _Attention:
    """One chunk of whole reports against all films; everything is ``[p, N, R]`` or ``[p, N]``."""

    def __init__(self, films: _Films, part: _Part, gamma1: float, *, for_backward: bool) -> None:
        self._films, self._part, self._gamma1 = films, part, gamma1
        kept, shape = part.kept, (len(part.words), films.count, films.size)
        self.scores = product(part.words, films.flat).view(shape) if kept.scores is None else kept.scores
        if kept.word_softmax is None or kept.attention is None:
            flat = self.scores.flatten(1).clone()
            self.word_softmax = segment_softmax_(flat, part.report, part.reports).view(shape)
            self.attention = (gamma1 * self.word_softmax).softmax(dim=2)
        else:
            self.word_softmax, self.attention = kept.word_softmax, kept.attention
        self.half_norm_grad: Tensor | None = None
        if for_backward:
            half = films.half_norm_grad(self.attention) if kept.half_norm_grad is None else kept.half_norm_grad
            self.half_norm_grad = half
            self._norm = torch.einsum("pnr,pnr->pn", self.attention, half)
        else:
            self._norm = films.norms(self.attention)
        self._word_square = part.words.square().sum(dim=1, keepdim=True)
        denominator = (self._norm.clamp_min(0) * self._word_square).sqrt()
        self._is_clamped = denominator < _SMALLEST_NORM_PRODUCT
        self._denominator = denominator.clamp_min(_SMALLEST_NORM_PRODUCT)
        self.cosine = torch.einsum("pnr,pnr->pn", self.attention, self.scores) / self._denominator

    def kept(self, tensors: int) -> tuple[Tensor | None, ...]:
        """The fields of :class:`_Kept`, as many as ``tensors`` allow; both softmaxes, being made together, or none."""
        made = self.scores, self.half_norm_grad, self.word_softmax, self.attention
        count = tensors if tensors < 3 else 2 if tensors == 3 else 4
        return *made[:count], *[None] * (_Kept.COUNT - min(count, _Kept.COUNT))

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the scores ``[p, N * R]`` and, per unit of the word's own vector, of the word norms ``[p]``."""
        assert self.half_norm_grad is not None
        grad_dot = (grad / self._denominator).unsqueeze(2)
        through_norms = (-grad * self.cosine).masked_fill(self._is_clamped, 0.0)
        grad_norm = torch.where(self._is_clamped, 0.0, through_norms / (2 * self._norm))
        self._films.add_grad_of_norms(self.attention, grad_norm)
        grad_attention = grad_dot * self.scores
        grad_attention.addcmul_((2 * grad_norm).unsqueeze(2), self.half_norm_grad)
        grad_scores = self._through_softmaxes(grad_attention)
        grad_scores.addcmul_(grad_dot, self.attention)
        word_square = self._word_square.squeeze(1)
        grad_word_norm = through_norms.sum(dim=1) / word_square.masked_fill(word_square == 0, 1.0)
        return grad_scores.flatten(1), grad_word_norm

    def _through_softmaxes(self, grad_attention: Tensor) -> Tensor:
        """From the attention to the scores; ``grad_attention`` is written over."""
        mean = torch.einsum("pnr,pnr->pn", self.attention, grad_attention).unsqueeze(2)
        grad = grad_attention.sub_(mean).mul_(self.attention).mul_(self.word_softmax).mul_(self._gamma1)
        flat = grad.flatten(1)
        total = segment_sum(flat, self._part.report, self._part.reports)[self._part.report].view_as(grad)
        return grad.addcmul_(total, self.word_softmax, value=-1)


@dataclass(frozen=True)
class _Chunk:
    words: slice
    first: int
    count: int


def _chunks(lengths: Sequence[int], elements_per_word: int, chunk_elements: int) -> Iterator[_Chunk]:
    """Whole reports in order, as many as fit; a report that alone exceeds the limit is a chunk of its own."""
    limit = max(chunk_elements // max(elements_per_word, 1), 1)
    first = begin = words = 0
    for report, length in enumerate(lengths):
        if words and words + length > limit:
            yield _Chunk(slice(begin, begin + words), first, report - first)
            first, begin, words = report, begin + words, 0
        words += length
    if words:
        yield _Chunk(slice(begin, begin + words), first, len(lengths) - first)
