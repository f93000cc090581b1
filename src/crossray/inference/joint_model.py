"""A trained joint model: load a run, embed films and texts, compare them, show where words look.

Everything runs in evaluation mode, without gradient, and in pieces, so that the number of films does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from crossray.alignment.masked import count_by_index, sum_by_index
from crossray.data.augment import ImageInputConfig, evaluation_view
from crossray.data.batch import TokenBatch
from crossray.data.text import SelectedText, TextConfig
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.errors import ConfigError
from crossray.inference.run_files import checkpoint_file, read_model_config
from crossray.methods.base import GroundsPhrases, GroundsWords, ImageEmbedding, Method, Similarity, TextEmbedding
from crossray.methods.build import build_method
from crossray.tensor_file import load_weights, read_tensors

Progress = Callable[[int, int], object]
"""Called after each piece with how many are done and how many there are."""

_FILMS_COMPARED_AT_ONCE = 64


class WordAttention(NamedTuple):
    """Where the words of a text look in a film.

    ``words`` as they are written, those that the model reads; ``maps [W, rows, columns]``, each summing to 1, row 0 at
    the top of what the model saw of the film.
    """

    words: tuple[str, ...]
    maps: Tensor


class JointModel:
    """A method with its tokenizer and what its inputs must look like. Results are on the CPU.

    Args:
        method: trained; it is put into evaluation mode.
        tokenizer: the one it was trained with.
        image_config: how prepared films become its input.
        text_config: which part of a report it reads (callers select; see ``data.text.select_text``).
        merges_words: whether an item of the text encoder is a word rather than a word-piece.
        device: where to compute.
    """

    def __init__(
        self,
        method: Method,
        tokenizer: ReportTokenizer,
        image_config: ImageInputConfig,
        text_config: TextConfig,
        *,
        merges_words: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        self.method = method.to(device).eval()
        self.tokenizer = tokenizer
        self.image_config = image_config
        self.text_config = text_config
        self.device = torch.device(device)
        self._merges_words = merges_words

    @classmethod
    def load(cls, run: Path, checkpoint: str = "best", *, device: torch.device | str = "cpu") -> JointModel:
        """The model of a run folder; nothing outside the folder is read.

        Raises:
            CheckpointError: the folder is no run, of another version, or a file in it is missing, cut short, altered,
                or does not fit the configuration.
            ConfigError: ``config.yaml`` is damaged.
        """
        run = Path(run)
        config = read_model_config(run)
        file = checkpoint_file(run, checkpoint)
        tokenizer = ReportTokenizer.load(run / "tokenizer").with_truncation(config.text_encoder.truncation)
        weights, _ = read_tensors(file)
        method = build_method(
            config.image_encoder, config.text_encoder, config.method, tokenizer, initial_weights=False
        )
        load_weights(method, weights, file)
        return cls(
            method,
            tokenizer,
            config.image,
            config.text,
            merges_words=config.text_encoder.merge_words,
            device=device,
        )

    @torch.no_grad()
    def embed_images(
        self, pixels: NDArray[np.uint8] | Tensor, batch_size: int = 32, progress: Progress | None = None
    ) -> ImageEmbedding:
        """Prepared films ``[N, S, S]`` uint8 in the joint space.

        Raises:
            ConfigError: the array is not of this shape and type, or the films are smaller than the model's input.
        """
        pieces = [_image_to_cpu(self.method.embed_images(view)) for view in self._views(pixels, batch_size, progress)]
        return ImageEmbedding.joined(pieces)

    @torch.no_grad()
    def image_features(
        self, pixels: NDArray[np.uint8] | Tensor, batch_size: int = 32, progress: Progress | None = None
    ) -> Tensor:
        """Pooled trunk features ``[N, C]`` float32 of prepared films, before any projection.

        Raises:
            ConfigError: as :meth:`embed_images`.
        """
        views = self._views(pixels, batch_size, progress)
        return torch.cat([self.method.image_features(view).float().cpu() for view in views])

    @torch.no_grad()
    def embed_texts(
        self, texts: Sequence[SelectedText | str], batch_size: int = 64, progress: Progress | None = None
    ) -> TextEmbedding:
        """Texts in the joint space, words padded to the longest of all."""
        if not texts:
            raise ConfigError("no text was given.")
        pieces: list[TextEmbedding] = []
        for tokens in self.tokens(texts, batch_size):
            pieces.append(_text_to_cpu(self.method.embed_texts(tokens)))
            _report(progress, sum(len(piece.report) for piece in pieces), len(texts))
        characters = torch.tensor([len(_words(text)) for text in texts])
        return replace(_join_texts(pieces), characters=characters)

    @torch.no_grad()
    def text_features(self, texts: Sequence[SelectedText | str], batch_size: int = 64) -> Tensor:
        """The text encoder's vectors ``[N, C]`` float32 of texts, before any projection."""
        return torch.cat([self.method.text_features(tokens).float().cpu() for tokens in self.tokens(texts, batch_size)])

    def tokens(self, texts: Sequence[SelectedText | str], batch_size: int = 64) -> Iterator[TokenBatch]:
        """Texts as the text encoder reads them, so many at a time, on the model's device."""
        reports = self.tokenizer.encode(texts)
        for start in range(0, len(reports), batch_size):
            yield self.tokenizer.collate(reports[start : start + batch_size]).to(self.device)

    @torch.no_grad()
    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, purpose: Literal["retrieval", "zero_shot"] = "retrieval"
    ) -> Similarity:
        """Scores ``[N, M]`` of every film against every text."""
        texts = _text_to(texts, self.device)
        pieces = [
            self.method.similarity(self._rows(images, start), texts, purpose=purpose)
            for start in range(0, len(images.pooled), _FILMS_COMPARED_AT_ONCE)
        ]
        local = [piece.local_scores.cpu() for piece in pieces if piece.local_scores is not None]
        return Similarity(
            global_scores=torch.cat([piece.global_scores.cpu() for piece in pieces]),
            local_scores=torch.cat(local) if local else None,
        )

    def word_region_attention(self, image: NDArray[np.uint8] | Tensor, text: SelectedText | str) -> WordAttention:
        """Where each word of a text looks in one prepared film ``[S, S]`` uint8.

        Raises:
            ConfigError: the method has no attention from words to regions, or the film is not of this shape and type.
        """
        self._grounding_words()
        return self.word_attentions(self.embed_images(torch.as_tensor(image).unsqueeze(0)), [text])[0]

    @torch.no_grad()
    def word_attentions(self, images: ImageEmbedding, texts: Sequence[SelectedText | str]) -> list[WordAttention]:
        """Where each word of text i looks in film i of ``images`` (:meth:`embed_images`).

        Raises:
            ConfigError: the method has no attention from words to regions.
        """
        method, tokens = self._grounding_words(), self.tokenizer.collate(self.tokenizer.encode(texts))
        embedded = self.method.embed_texts(tokens.to(self.device))
        maps = method.attention(self._films(images, slice(None)), embedded).cpu()
        found = []
        for own, word_ids, text in zip(maps, tokens.word_ids, texts, strict=True):
            words = self.tokenizer.words(text)
            by_word = self._maps_of_words(own, word_ids, len(words))
            found.append(WordAttention(words, by_word.view(len(words), *images.grid)))
        return found

    @torch.no_grad()
    def phrase_map(
        self, images: ImageEmbedding, phrases: Sequence[SelectedText | str], film_of_phrase: Sequence[int]
    ) -> Tensor:
        """Where each phrase points in its film: ``[P, rows, columns]``, row 0 at the top of what the model saw.

        Larger is stronger; the scale differs by method. Each distinct phrase is embedded once.

        Args:
            images: films in the joint space (:meth:`embed_images`), each as often as it has phrases or not at all.
            phrases: ``[P]``.
            film_of_phrase: ``[P]`` row of each phrase's film in ``images``.

        Raises:
            ConfigError: the method says nothing about places, or there is not one film for each phrase.
        """
        if not isinstance(self.method, GroundsPhrases):
            raise ConfigError(f"{self.method.name} does not say where in a film a phrase points.")
        if len(phrases) != len(film_of_phrase):
            raise ConfigError(f"{len(phrases)} phrases were given, but films for {len(film_of_phrase)}.")
        distinct = {_words(phrase): phrase for phrase in phrases}
        place = {words: row for row, words in enumerate(distinct)}
        texts = _text_to(self.embed_texts(list(distinct.values())), self.device)
        pieces = []
        for start in range(0, len(phrases), _FILMS_COMPARED_AT_ONCE):
            piece = slice(start, start + _FILMS_COMPARED_AT_ONCE)
            own = _texts(texts, torch.tensor([place[_words(phrase)] for phrase in phrases[piece]]))
            films = self._films(images, torch.tensor(film_of_phrase[piece]))
            pieces.append(self.method.phrase_map(films, own).cpu())
        return torch.cat(pieces).float().view(len(phrases), *images.grid)

    def _views(
        self, pixels: NDArray[np.uint8] | Tensor, batch_size: int, progress: Progress | None
    ) -> Iterator[Tensor]:
        if pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2] or len(pixels) == 0:
            raise ConfigError(f"films must be [N, S, S] with N of at least 1, got {list(pixels.shape)}.")
        if pixels.dtype not in (torch.uint8, np.uint8):
            raise ConfigError(f"films must be uint8, got {pixels.dtype}.")
        for start in range(0, len(pixels), batch_size):
            piece = torch.as_tensor(pixels[start : start + batch_size])
            yield evaluation_view(piece.to(self.device), self.image_config)
            _report(progress, min(start + batch_size, len(pixels)), len(pixels))

    def _rows(self, images: ImageEmbedding, start: int) -> ImageEmbedding:
        return self._films(images, slice(start, start + _FILMS_COMPARED_AT_ONCE))

    def _films(self, images: ImageEmbedding, rows: slice | Tensor) -> ImageEmbedding:
        return ImageEmbedding(images.pooled[rows].to(self.device), images.regions[rows].to(self.device), images.grid)

    def _grounding_words(self) -> GroundsWords:
        if isinstance(self.method, GroundsWords):
            return self.method
        raise ConfigError(
            f"{self.method.name} compares whole films with whole reports: its words look nowhere.",
            remedy="Use a run of a method with a local term, such as global_local.",
        )

    def _maps_of_words(self, maps: Tensor, word_ids: Tensor, words: int) -> Tensor:
        """Maps ``[words, R]`` of maps of items ``[L, R]``; a word of several pieces has their mean."""
        if self._merges_words:
            return maps[1 : words + 1]  # item 0 is [CLS]
        pieces = count_by_index(word_ids[None], words).clamp_min(1)
        return (sum_by_index(maps[None], word_ids[None], words) / pieces.unsqueeze(2))[0]


def _report(progress: Progress | None, done: int, of: int) -> None:
    if progress is not None:
        progress(done, of)


def _words(text: SelectedText | str) -> str:
    return text if isinstance(text, str) else text.text


def _texts(texts: TextEmbedding, rows: Tensor) -> TextEmbedding:
    return texts.each(lambda tensor: tensor[rows])


def _image_to_cpu(images: ImageEmbedding) -> ImageEmbedding:
    return ImageEmbedding(images.pooled.float().cpu(), images.regions.float().cpu(), images.grid)


def _text_to(texts: TextEmbedding, device: torch.device) -> TextEmbedding:
    return texts.each(lambda tensor: tensor.to(device))


def _text_to_cpu(texts: TextEmbedding) -> TextEmbedding:
    on_cpu = _text_to(texts, torch.device("cpu"))
    return replace(on_cpu, report=on_cpu.report.float(), words=on_cpu.words.float())


def _join_texts(pieces: list[TextEmbedding]) -> TextEmbedding:
    longest = max(piece.words.shape[1] for piece in pieces)

    def joined(tensors: list[Tensor]) -> Tensor:
        """Items in dimension 1, padded at the end with zeros (False)."""
        trailing = (0, 0) * (tensors[0].ndim - 2)
        return torch.cat([F.pad(tensor, (*trailing, 0, longest - tensor.shape[1])) for tensor in tensors])

    return TextEmbedding(
        report=torch.cat([piece.report for piece in pieces]),
        words=joined([piece.words for piece in pieces]),
        word_mask=joined([piece.word_mask for piece in pieces]),
        special_mask=joined([piece.special_mask for piece in pieces]),
    )
