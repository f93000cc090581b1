"""Report text to the ids of word-pieces or whole words, with the word and the sentence of each piece."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from crossray.data.batch import TokenBatch
from crossray.data.study import Span
from crossray.data.text import SelectedText
from crossray.encoders.bert import pretrained_source
from crossray.encoders.tokenized import TokenizedReport, tokenized, whole_sentences
from crossray.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from crossray.encoders.text import TextEncoderConfig

Punctuation = Literal["drop", "keep"]
Truncation = Literal["tokens", "sentences"]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_FILE = "tokenizer.json"
_NOT_A_WORD = Regex(r"[^\w\s]")


class ReportTokenizer:
    """A tokenizer that knows words and sentences; the same for the same corpus, on any machine.

    Make one with :meth:`learn`, :meth:`learn_words`, :meth:`from_pretrained` or :meth:`load`.
    """

    def __init__(self, tokenizer: Tokenizer, truncation: Truncation = "tokens") -> None:
        self._tokenizer = tokenizer
        self.truncation: Truncation = truncation
        self.pad_id = self._id("[PAD]")
        self.unknown_id = self._id("[UNK]")
        self.mask_id = self._id("[MASK]")
        self.special_ids = tuple(self._id(token) for token in _SPECIAL)
        self.vocabulary_size: int = tokenizer.get_vocab_size()
        self.max_tokens: int = (tokenizer.truncation or {})["max_length"]
        self._reader = tokenizer
        if truncation == "sentences":  # cut here, where sentences are known
            self._reader = Tokenizer.from_str(tokenizer.to_str())
            self._reader.no_truncation()

    def with_truncation(self, truncation: Truncation) -> ReportTokenizer:
        """The same tokenizer, cutting long reports as :class:`TextEncoderConfig` says."""
        return ReportTokenizer(self._tokenizer, truncation)

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        *,
        max_tokens: int = 97,
        punctuation: Punctuation = "drop",
    ) -> ReportTokenizer:
        """Learn a lower-case WordPiece vocabulary of at most ``vocabulary_size`` tokens from the texts.

        Raises:
            ConfigError: the texts hold no word, or more different characters than the vocabulary has room for.
        """
        corpus = list(texts)
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = _normalizer(normalizers.BertNormalizer(lowercase=True), punctuation)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        # The trainer numbers "##a", "##b", ... in the order of a hash map and breaks ties between merges by those
        # numbers: naming the whole alphabet beforehand makes the vocabulary a function of the corpus.
        letters = sorted({letter for text in corpus for letter in tokenizer.normalizer.normalize_str(text)} - {" "})
        alphabet = [letter for letter in letters if not letter.isspace()]
        first = [*_SPECIAL, *alphabet, *(f"##{letter}" for letter in alphabet)]
        if not alphabet or len(first) > vocabulary_size:
            problem = (
                "the texts hold no word." if not alphabet else f"{len(first)} tokens are needed for letters alone."
            )
            raise ConfigError(
                f"a vocabulary of {vocabulary_size} cannot be learned: {problem}", field="vocabulary_size"
            )
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocabulary_size, min_frequency=2, special_tokens=first, show_progress=False
        )
        tokenizer.train_from_iterator(corpus, trainer)
        learned = Tokenizer(models.WordPiece(tokenizer.get_vocab(with_added_tokens=True), unk_token="[UNK]"))
        learned.normalizer, learned.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
        return cls(_with_special_tokens(learned, max_tokens))

    @classmethod
    def learn_words(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        *,
        max_tokens: int = 97,
        punctuation: Punctuation = "drop",
    ) -> ReportTokenizer:
        """Learn a lower-case vocabulary of the words that the texts hold more than once, the most frequent first.

        Ids as published (`joimternet` spec, section 4.2): [PAD] 0, [CLS] 1, [SEP] 2, [UNK] 3, words from 4, [MASK]
        last. Where the vocabulary has no room for all such words, the rarest become [UNK].

        Raises:
            ConfigError: no word occurs twice.
        """
        normalizer = _normalizer(normalizers.BertNormalizer(lowercase=True), punctuation)
        pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
        by_frequency = sorted(counts, key=lambda word: (-counts[word], word))
        words = [word for word in by_frequency if counts[word] > 1][: vocabulary_size - len(_SPECIAL)]
        if not words:
            raise ConfigError("the texts hold no word twice: there is no vocabulary to learn.", field="vocabulary_size")
        tokens = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", *words, "[MASK]")
        learned = Tokenizer(models.WordLevel({token: k for k, token in enumerate(tokens)}, unk_token="[UNK]"))
        learned.normalizer, learned.pre_tokenizer = normalizer, pre_tokenizer
        return cls(_with_special_tokens(learned, max_tokens))

    @classmethod
    def from_pretrained(
        cls, pretrained: str, *, max_tokens: int = 97, punctuation: Punctuation = "drop"
    ) -> ReportTokenizer:
        """The tokenizer of a BERT: ``minilm``, a folder, or a hub id.

        Raises:
            ConfigError: it cannot be found, or is no WordPiece tokenizer.
        """
        source = pretrained_source(pretrained)
        tokenizer = _read_pretrained(source)
        if not isinstance(tokenizer.model, models.WordPiece):
            raise ConfigError(f"'{pretrained}' has no WordPiece tokenizer.", field="text_encoder.pretrained")
        tokenizer.normalizer = _normalizer(tokenizer.normalizer, punctuation)
        tokenizer.no_padding()
        return cls(_with_special_tokens(tokenizer, max_tokens))

    @classmethod
    def load(cls, folder: Path) -> ReportTokenizer:
        """The tokenizer that :meth:`save` wrote.

        Raises:
            CheckpointError: it is missing or cannot be read.
        """
        path = folder / _FILE
        try:
            return cls(Tokenizer.from_str(path.read_text(encoding="utf-8")))
        except Exception as error:  # the reader raises plain Exception for a damaged file
            raise CheckpointError(f"the tokenizer cannot be read ({error}).", file=path) from error

    def save(self, folder: Path) -> None:
        """Write the tokenizer into ``folder``, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        content = json.loads(self._tokenizer.to_str())
        (folder / _FILE).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")

    def encode(self, texts: Sequence[SelectedText | str]) -> list[TokenizedReport]:
        """Tokenise texts, each cut off at ``max_tokens``; a plain string is one sentence."""
        selected = [_as_selected(text) for text in texts]
        encodings = self._reader.encode_batch([text.text for text in selected])
        reports = [tokenized(encoding, text.sentences) for encoding, text in zip(encodings, selected, strict=True)]
        return [whole_sentences(report, self.max_tokens) for report in reports]

    def words(self, text: SelectedText | str) -> tuple[str, ...]:
        """The words of a text as it is written, in the order of ``word_ids`` (only those not cut off)."""
        selected = _as_selected(text)
        encoding = self._reader.encode(selected.text)
        last = self.encode([selected])[0].word_ids.max()
        spans: dict[int, tuple[int, int]] = {}
        for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
            if word is not None and word <= last:
                spans[word] = (spans.get(word, (start, end))[0], end)
        return tuple(selected.text[start:end] for start, end in spans.values())

    def collate(self, reports: Sequence[TokenizedReport], length: int | None = None) -> TokenBatch:
        """Pad reports to ``length`` tokens, or to the longest.

        Raises:
            ConfigError: a report is longer than ``length``.
        """
        longest = max((len(report.input_ids) for report in reports), default=0)
        if length is not None and longest > length:
            raise ConfigError(f"a report of {longest} tokens does not fit into {length}.", field="length")
        width = longest if length is None else length
        lengths = torch.tensor([len(report.input_ids) for report in reports], dtype=torch.int64)
        return TokenBatch(
            input_ids=_padded([report.input_ids for report in reports], width, self.pad_id),
            attention_mask=torch.arange(width) < lengths.unsqueeze(1),
            word_ids=_padded([report.word_ids for report in reports], width, -1),
            sentence_ids=_padded([report.sentence_ids for report in reports], width, -1),
        )

    def _id(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        if index is None:
            raise ConfigError(f"the tokenizer has no {token} token.", field="text_encoder.pretrained")
        return int(index)


def build_tokenizer(config: TextEncoderConfig, texts: Iterable[str]) -> ReportTokenizer:
    """The tokenizer a text encoder asks for: learned from the texts, or its pretrained model's own.

    Raises:
        ConfigError: it cannot be learned or found, or a pretrained model is to be given whole words.
    """
    if config.pretrained == "none":
        learn = ReportTokenizer.learn if config.tokenizer == "wordpiece" else ReportTokenizer.learn_words
        tokenizer = learn(texts, config.vocabulary_size, max_tokens=config.max_tokens, punctuation=config.punctuation)
        return tokenizer.with_truncation(config.truncation)
    if config.tokenizer != "wordpiece":
        raise ConfigError(
            f"'{config.pretrained}' brings its own WordPiece tokenizer.",
            field="text_encoder.tokenizer",
            remedy="Leave it at wordpiece, or set text_encoder.pretrained=none.",
        )
    tokenizer = ReportTokenizer.from_pretrained(
        config.pretrained, max_tokens=config.max_tokens, punctuation=config.punctuation
    )
    return tokenizer.with_truncation(config.truncation)


def _normalizer(first: normalizers.Normalizer, punctuation: Punctuation) -> normalizers.Normalizer:
    if punctuation == "keep":
        return first
    return normalizers.Sequence([first, normalizers.Replace(_NOT_A_WORD, " ")])


def _with_special_tokens(tokenizer: Tokenizer, max_tokens: int) -> Tokenizer:
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    if cls is None or sep is None:
        raise ConfigError("the tokenizer has no [CLS] and [SEP].", field="text_encoder.pretrained")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _read_pretrained(source: str) -> Tokenizer:
    file = Path(source) / _FILE
    try:
        if file.is_file():
            return Tokenizer.from_file(str(file))
        from transformers import AutoTokenizer  # a folder with vocab.txt alone, or a hub id

        return AutoTokenizer.from_pretrained(source).backend_tokenizer
    except Exception as error:  # the hub's client, its transport and the reader raise what they like
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"the tokenizer of '{source}' cannot be loaded ({first_line}).",
            field="text_encoder.pretrained",
            remedy="Without a network, give the folder of a downloaded BERT, 'minilm', or 'none'.",
        ) from error


def _as_selected(text: SelectedText | str) -> SelectedText:
    return text if isinstance(text, SelectedText) else SelectedText(text, (Span(0, len(text)),))


def _padded(rows: Sequence[NDArray[np.int32]], width: int, filling: int) -> Tensor:
    padded = np.full((len(rows), width), filling, dtype=np.int64)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(padded)
