"""Any BERT behind one interface: a vector for each report, its words and its sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.alignment.masked import (
    count_by_index,
    masked_max,
    masked_mean,
    masked_softmax,
    max_by_index,
    sum_by_index,
)
from crossray.alignment.precision import full_precision, without_autocast
from crossray.data.batch import TokenBatch
from crossray.encoders.bert import create_bert
from crossray.encoders.features import ItemMasks, TextFeatures
from crossray.encoders.frozen_text import FrozenStates, through_layers
from crossray.encoders.tokenizer import Truncation
from crossray.settings import Settings

ReportPooling = Literal["gloria_mean", "mean", "cls", "max", "max_of_words"]
SentencePooling = Literal["mean", "max"]

_GROUPS = 8  # by length; a number that does not grow with the batch


class TextEncoderConfig(Settings):
    """The language model, where its weights come from, and how tokens become words and reports.

    The architecture fields left empty come from the pretrained model, or, without one, from the small BERT that is
    trained from scratch; :func:`crossray.encoders.bert.resolve_text_encoder` fills them in, so that a run can be
    loaded without the place its weights came from.

    Attributes:
        pretrained: ``none``, ``minilm`` (an installed package), a folder, or a hub id of a BERT.
        vocabulary_size: of the vocabulary learned from the corpus (at most); a pretrained model brings its own.
        tokenizer: what is learned: ``wordpiece``, or ``word_level``, whole words seen more than once (JoImTeRNet).
        max_tokens: tokens read of a report, [CLS] and [SEP] included; the rest is cut off.
        truncation: ``tokens`` cuts anywhere; ``sentences`` keeps the whole sentences before the first that does not
            fit, and cuts only a first sentence that is itself too long (LoVT).
        punctuation: ``drop`` reads runs of letters and digits only, as GLoRIA does; ``keep`` makes marks words.
        layers: depth; of a pretrained model, its first so many layers.
        width, heads, intermediate, max_positions, token_types, activation, layer_norm_eps: as BERT's configuration.
        dropout: of hidden states and attention.
        last_layers: hidden states of so many last layers are summed (GLoRIA: 4).
        merge_words: a word's vector is the sum of its pieces' vectors; off: every piece is a word.
        report_pooling: ``gloria_mean`` sum of all tokens over the constant ``max_tokens``; ``mean`` over real tokens;
            ``cls``; ``max`` over real tokens. All four include [CLS] and [SEP]; ``max_of_words`` (LoVT's ConVIRT and
            CLIP*) leaves them out, and an empty report is zeros.
        sentence_pooling: over the tokens of a sentence, without [CLS] and [SEP] (LoVT: ``max``).
        class_attention: also return what [CLS] attends to (MGCA's word weights).
        freeze_embeddings: no gradient for the embeddings.
        frozen_layers: no gradient for the first so many layers.
        remember_frozen: embeddings and frozen layers run without dropout, and what they make of a report is kept for
            the next time it is read (``encoders.frozen_text``). Off, dropout stays on in them, as published.
    """

    pretrained: str = "none"
    vocabulary_size: int = Field(default=4096, ge=64)
    tokenizer: Literal["wordpiece", "word_level"] = "wordpiece"
    max_tokens: int = Field(default=97, ge=3)
    truncation: Truncation = "tokens"
    punctuation: Literal["drop", "keep"] = "drop"
    layers: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1)
    heads: int | None = Field(default=None, ge=1)
    intermediate: int | None = Field(default=None, ge=1)
    max_positions: int | None = Field(default=None, ge=3)
    token_types: int | None = Field(default=None, ge=1)
    activation: str | None = None
    layer_norm_eps: float | None = Field(default=None, gt=0.0)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    last_layers: int = Field(default=1, ge=1)
    merge_words: bool = True
    report_pooling: ReportPooling = "gloria_mean"
    sentence_pooling: SentencePooling = "mean"
    class_attention: bool = False
    freeze_embeddings: bool = False
    frozen_layers: int = Field(default=0, ge=0)
    remember_frozen: bool = False

    @model_validator(mode="after")
    def _only_what_is_frozen_is_remembered(self) -> TextEncoderConfig:
        if self.remember_frozen and not (self.freeze_embeddings and self.frozen_layers):
            raise ValueError("remember_frozen needs freeze_embeddings and frozen_layers of at least 1")
        return self


class TextEncoder(nn.Module):
    """Tokenised reports to :class:`TextFeatures`.

    Words and sentences have as many slots as the batch has tokens, so that pieces of a batch fit together. On a CPU
    reports of similar length go through the model together, each group padded to its own longest only.

    Args:
        config: see :class:`TextEncoderConfig`.
        vocabulary_size: the tokenizer's.
        initial_weights: load what ``config.pretrained`` names; off where a checkpoint fills the weights anyway.

    Attributes:
        config: the configuration with its architecture filled in.
        channels: width of all vectors.
        keeps_padding_states: what the model makes of padding is wanted too (a published defect reads it).

    Raises:
        ConfigError: the model, its weights or a layer does not exist, or does not fit the tokenizer.
    """

    def __init__(self, config: TextEncoderConfig, vocabulary_size: int, *, initial_weights: bool = True) -> None:
        super().__init__()
        self.bert, self.config = create_bert(config, vocabulary_size, initial_weights=initial_weights)
        self.channels: int = self.bert.config.hidden_size
        self.keeps_padding_states = False
        if config.freeze_embeddings:
            self.bert.embeddings.requires_grad_(False)
        for layer in self.bert.encoder.layer[: config.frozen_layers]:
            layer.requires_grad_(False)
        self._frozen_states = FrozenStates(self.bert, config.frozen_layers) if config.remember_frozen else None
        if self._frozen_states is not None:
            hook: Any = self.register_load_state_dict_post_hook
            hook(_forget)

    def train(self, mode: bool = True) -> TextEncoder:
        """Training mode, except for what is remembered: dropout must not be in it."""
        super().train(mode)
        if self._frozen_states is not None:
            for module in (self.bert.embeddings, *self.bert.encoder.layer[: self.config.frozen_layers]):
                module.eval()
        return self

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        """Run the model once; an empty report is [CLS] [SEP]."""
        vectors, attention = self._token_vectors(tokens)
        items, count = self._items(tokens)
        masks, slots = self._masks(tokens, count), tokens.input_ids.shape[1]
        return TextFeatures(
            report=self._pool(vectors, tokens.attention_mask),
            words=sum_by_index(vectors, items, slots),
            word_mask=masks.words,
            sentences=self._sentences(vectors, tokens.sentence_ids),
            sentence_mask=masks.sentences,
            special_mask=masks.special,
            tokens=vectors,
            word_attention=None if attention is None else sum_by_index(attention.unsqueeze(2), items, slots)[..., 0],
        )

    def item_masks(self, tokens: TokenBatch) -> ItemMasks:
        """The masks of a batch's features, from its tokens alone.

        Those of ``tokens.readable`` stay with the host, which may read them without waiting for the device.
        """
        return self._masks(tokens, self._items(tokens)[1])

    def _masks(self, tokens: TokenBatch, count: Tensor) -> ItemMasks:
        """``count [B]`` is the number of items."""
        slots = tokens.input_ids.shape[1]
        place = torch.arange(slots, device=count.device)
        last = count.unsqueeze(1) - 1
        special = (place == 0) | (place == last)
        if not self.config.merge_words:
            special = tokens.attention_mask & (tokens.word_ids < 0)
        return ItemMasks(place <= last, special, count_by_index(tokens.sentence_ids, slots) > 0)

    def _items(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        return word_items(tokens) if self.config.merge_words else _piece_items(tokens)

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers: what runs one after the other at every step, with most weights.

        Without those that are remembered, and the last one if ``class_attention`` reads its weights from outside.
        """
        first = self.config.frozen_layers if self.config.remember_frozen else 0
        layers = list(self.bert.encoder.layer)[first:]
        return layers[:-1] if self.config.class_attention else layers

    def _token_vectors(self, tokens: TokenBatch) -> tuple[Tensor, Tensor | None]:
        if tokens.input_ids.device.type != "cpu" or self.keeps_padding_states:
            return self._run(tokens)
        pieces = [(rows, self._run(piece)) for rows, piece in length_groups(tokens)]
        order = torch.cat([rows for rows, _ in pieces]).argsort()
        slots = tokens.input_ids.shape[1]
        vectors = torch.cat([F.pad(own, (0, 0, 0, slots - own.shape[1])) for _, (own, _) in pieces])[order]
        attentions = [F.pad(own, (0, slots - own.shape[1])) for _, (_, own) in pieces if own is not None]
        return vectors, torch.cat(attentions)[order] if attentions else None

    def _run(self, tokens: TokenBatch) -> tuple[Tensor, Tensor | None]:
        """Vectors ``[B, L, C]`` of the tokens and, where asked for, what [CLS] attends to, ``[B, L]``."""
        last = self.config.last_layers
        states = self._states(tokens)
        vectors = states[-1] if last == 1 else torch.stack(list(states[-last:])).sum(dim=0)
        attends = self.config.class_attention
        attention = self._class_attention(states[-2], tokens.attention_mask) if attends else None
        return full_precision(vectors), attention  # sums over pieces and tokens follow

    def _states(self, tokens: TokenBatch) -> Sequence[Tensor]:
        """Hidden states ``[B, L, C]``, the last layer's last; not all the earlier ones are there."""
        # Layer by layer, not by the model's own forward: that reads the mask back from the device at every step.
        layers, mask = self.bert.encoder.layer, tokens.attention_mask
        if self._frozen_states is None:
            return through_layers(self.bert.embeddings(input_ids=tokens.input_ids), mask, layers)
        return through_layers(self._frozen_states.of(tokens), mask, layers[self.config.frozen_layers :])

    @torch.no_grad()
    def _class_attention(self, states: Tensor, mask: Tensor) -> Tensor:
        """``[B, L]`` what [CLS] attends to in the last layer, mean of its heads, from that layer's input ``states``.

        Computed here for the one row that is wanted: fused attention does not hand its weights out.
        """
        layer: Any = self.bert.encoder.layer[-1].attention.self
        heads, width = layer.num_attention_heads, layer.attention_head_size
        with without_autocast(states):
            states = full_precision(states)
            reports = states.shape[0]  # len() would be a constant in an exported graph
            query = layer.query(states[:, 0]).view(reports, heads, 1, width)
            key = layer.key(states).view(reports, -1, heads, width).permute(0, 2, 3, 1)
            scores = (query @ key).squeeze(2) / width**0.5
            return masked_softmax(scores, mask.unsqueeze(1), dim=2).mean(dim=1)

    def _sentences(self, vectors: Tensor, sentence_ids: Tensor) -> Tensor:
        slots = sentence_ids.shape[1]
        if self.config.sentence_pooling == "max":
            return max_by_index(vectors, sentence_ids, slots)
        size = count_by_index(sentence_ids, slots).clamp_min(1)
        return sum_by_index(vectors, sentence_ids, slots) / size.unsqueeze(2)

    def _pool(self, vectors: Tensor, mask: Tensor) -> Tensor:
        match self.config.report_pooling:
            case "cls":
                return vectors[:, 0]
            case "max":
                return masked_max(vectors, mask, dim=1)
            case "max_of_words":
                inner = F.pad(mask[:, 2:], (1, 1))  # real, not the first, and another one follows
                return masked_max(vectors, inner, dim=1)
            case "mean":
                return masked_mean(vectors, mask, dim=1)
            case "gloria_mean":
                # The published mean runs over all 97 slots, padding included as zeros; words are sums of their pieces,
                # so the sum over items is the sum over tokens. A constant keeps it free of the batch's own length.
                return vectors.masked_fill(~mask.unsqueeze(2), 0.0).sum(dim=1) / self.config.max_tokens


def _forget(encoder: TextEncoder, _: object) -> None:
    """Other weights make other states."""
    if encoder._frozen_states is not None:
        encoder._frozen_states.forget()


def length_groups(tokens: TokenBatch) -> list[tuple[Tensor, TokenBatch]]:
    """The reports by length, in a few groups, without the padding that a group does not need; and their rows."""
    lengths = tokens.attention_mask.sum(dim=1)
    groups = []
    for rows in torch.tensor_split(lengths.argsort(stable=True), min(_GROUPS, len(lengths))):
        groups.append((rows, tokens.rows((rows, slice(int(lengths[rows].max()))))))
    return groups


def word_items(tokens: TokenBatch) -> tuple[Tensor, Tensor]:
    """The item that each token belongs to, ``[B, L]`` (-1 for padding), and the number of items ``[B]``.

    Item 0 is [CLS], then the words in order, then [SEP] (`global_local` spec, section 2.2).
    """
    words = tokens.word_ids.amax(dim=1) + 1
    place = torch.arange(tokens.input_ids.shape[1], device=words.device)
    is_word = tokens.word_ids >= 0
    closing = (words + 1).unsqueeze(1)
    items = torch.where(is_word, tokens.word_ids + 1, torch.where(place == 0, 0, closing))
    return items.masked_fill(~tokens.attention_mask, -1), words + 2


def _piece_items(tokens: TokenBatch) -> tuple[Tensor, Tensor]:
    place = torch.arange(tokens.input_ids.shape[1], device=tokens.input_ids.device)
    items = place.expand_as(tokens.input_ids).masked_fill(~tokens.attention_mask, -1)
    return items, tokens.attention_mask.sum(dim=1)
