"""JoImTeRNet: films and reports matched as wholes and by regions and words, with masked language modelling in turn.

Spec: `joimternet`, sections 2 and 3. Each level is matched by cross-entropy and by triplets, in both directions.
Presets:

- ``clean`` (default): reports with identical text are positives of each other, and never a triplet's negative; a
  negative report is compared with all of its own words.
- ``reference``: what the published code does. A pair's own report is its only positive (section 6.6), the negative
  report of the local triplet is cut or padded to the length of the positive one (6.2), and reports are compared by the
  mean of their tokens although training may have pooled them otherwise (6.1).

In both, two films of one study are neither positives nor negatives, a lone pair costs nothing (6.8), and the drawn
negatives are the same on all processes (6.11). Of the published code, its broken classification heads (6.7) are not
reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor

from crossray.alignment.contrastive import cosine_matrix
from crossray.alignment.local_similarity import Aggregation, local_similarity, region_scores, word_region_attention
from crossray.alignment.masked import masked_mean
from crossray.alignment.triplet import Negatives
from crossray.data.batch import PairBatch, TokenBatch
from crossray.data.tasks import AuxiliaryTask
from crossray.encoders.features import TextFeatures
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.methods.base import (
    Gather,
    ImageEmbedding,
    LossTerms,
    Method,
    PairFeatures,
    Similarity,
    TextEmbedding,
)
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.joimternet.legacy import negative_report_scores, with_padding_states
from crossray.methods.joimternet.masked_language import MaskedLanguageModel
from crossray.methods.joimternet.matching import Level, matching_terms, pair_relations
from crossray.methods.joimternet.phrases import SIZES, PhraseFeatures, phrase_mask
from crossray.methods.positives import gathered_positives, pair_groups
from crossray.methods.words import counted_items
from crossray.products import Linear

MASKED_LANGUAGE = "masked_language"

_DRAWS = 2**31
_MIXING = 2_654_435_761  # Knuth's multiplicative hash


@dataclass(frozen=True)
class LocalItems:
    """What is compared with regions: ``vectors [B, W, D]`` and which of them count, ``mask [B, W]``."""

    vectors: Tensor
    mask: Tensor


class JoImTeRNet(Method):
    """Global and local matching of films and reports, and a language head.

    Args:
        image_encoder: gives pooled and region features.
        text_encoder: gives report and word features.
        config: see :class:`JoImTeRNetConfig`.
        tokenizer: the vocabulary of the language head.
    """

    name: ClassVar[str] = "joimternet"
    local_unit: ClassVar[Literal["word"]] = "word"
    # The published encoders hold their projections and the language head; each is clipped by itself (section 4.4).
    clipped_with: ClassVar[Mapping[str, Literal["image_encoder", "text_encoder"]]] = MappingProxyType(
        {
            "global_projection": "image_encoder",
            "region_projection": "image_encoder",
            "report_projection": "text_encoder",
            "word_projection": "text_encoder",
            "phrases": "text_encoder",
            "language": "text_encoder",
        }
    )

    def __init__(
        self,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder,
        config: JoImTeRNetConfig,
        *,
        tokenizer: ReportTokenizer,
    ) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        text_encoder.keeps_padding_states = config.legacy_triplet_length
        channels, width = text_encoder.channels, config.embed_dim
        self.global_projection = Linear(image_encoder.pooled_channels, width)
        self.region_projection = Linear(image_encoder.local_channels, width, bias=False)
        self.report_projection = Linear(channels, width)
        self.word_projection = Linear(channels, width)
        self.phrases = PhraseFeatures(channels, width) if config.phrases else None
        self.language: MaskedLanguageModel | None = None
        if config.masked_language_share > 0:
            self.language = MaskedLanguageModel(channels, tokenizer, config.masked_language_probability)

    @property
    def auxiliary_tasks(self) -> tuple[AuxiliaryTask, ...]:
        """Masked language modelling, which reads no films."""
        share = self.config.masked_language_share
        return (AuxiliaryTask(MASKED_LANGUAGE, share, needs_films=False),) if share > 0 else ()

    def encode(self, batch: PairBatch) -> PairFeatures:
        """``image [B, D]``, ``report [B, D]``, ``regions [B, R, D]``, ``word [B, W, D]`` with ``word_mask [B, W]``.

        Masks of items stay with the host. Further: ``bigram``, ``trigram`` and their masks, ``study [B]``,
        ``draw [B]``, ``text_group`` and ``label_codes``. For masked language modelling instead ``language_loss [B]``
        and ``language_count [B]``.
        """
        if batch.task == MASKED_LANGUAGE and self.language is not None:
            corrupted = self.language.corrupt(batch.tokens)
            states = self.text_encoder(corrupted.tokens).tokens
            loss = self.language(states, batch.tokens.readable.input_ids, corrupted.chosen)
            return {"language_loss": loss.total, "language_count": loss.count}
        images = self.embed_images(batch.pixels)
        texts: TextFeatures = self.text_encoder(batch.tokens)
        items = with_padding_states(texts, batch.tokens) if self.config.legacy_triplet_length else texts.words
        features = {
            "image": images.pooled,
            "report": self.report_projection(texts.report),
            "regions": images.regions,
            "study": batch.study_index,
            "draw": self._draws(batch.study_index),
            **pair_groups(batch),
        }
        there = self.text_encoder.item_masks(batch.tokens.readable)
        for unit, local in self.local_items(items, self._counted(there.words, there.special)).items():
            features |= {unit: local.vectors, f"{unit}_mask": local.mask}
        return features

    def local_items(self, items: Tensor, counted: Tensor) -> dict[str, LocalItems]:
        """Words, and in the phrase variant bigrams and trigrams, in the joint space.

        Args:
            items: ``[B, W, C]`` of the text encoder.
            counted: ``[B, W]`` bool; a phrase counts if all its items do.
        """
        local = {"word": LocalItems(self.word_projection(items), counted)}
        if self.phrases is not None:
            for name, vectors in self.phrases(items).items():
                local[name] = LocalItems(vectors, phrase_mask(counted, SIZES[name]))
        return local

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """Cross-entropy and triplets of each level and direction (sections 3.3, 3.4), or the language loss (3.5).

        Each process scores its own films against every report; a term whose weight is 0 is not computed.
        """
        if "language_loss" in features:
            total, count = gather(features["language_loss"]).sum(), gather(features["language_count"]).sum()
            return LossTerms({MASKED_LANGUAGE: total / count.clamp_min(1)}, {MASKED_LANGUAGE: 1.0})
        positives = gathered_positives(self.config.positives, features, gather)
        relations = pair_relations(positives, gather(features["study"]), gather(features["draw"]))
        return matching_terms(self._levels(features, gather, relations.negatives), relations, self.config)

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """Films in the joint space: global vectors v and region vectors V (section 2.1)."""
        features = self.image_encoder(pixels)
        return ImageEmbedding(
            pooled=self.global_projection(features.pooled),
            regions=self.region_projection(features.regions),
            grid=features.grid,
        )

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Reports or prompts in the joint space: t and E (section 2.2)."""
        features: TextFeatures = self.text_encoder(tokens)
        pooled = features.report
        if self.config.inference_pooling == "mean":
            pooled = masked_mean(features.tokens, tokens.attention_mask, dim=1)
        return TextEmbedding(
            report=self.report_projection(pooled),
            words=self.word_projection(features.words),
            word_mask=features.word_mask,
            special_mask=features.special_mask,
        )

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Cosines (the published score), and local scores: as in training, or the best real word for zero-shot."""
        aggregation: Aggregation = self.config.aggregation if purpose == "retrieval" else "max"
        words = texts.word_mask & ~texts.special_mask
        if purpose == "retrieval":
            words = self._counted(texts.word_mask, texts.special_mask)
        return Similarity(
            global_scores=cosine_matrix(images.pooled, texts.report),
            local_scores=self._local_scores(images.regions, texts.words, words, aggregation),
        )

    def attention(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """Alpha: where each word of film i's text i looks, ``[B, W, R]``; rows of [CLS], [SEP] and padding are zero."""
        counted = self._counted(texts.word_mask, texts.special_mask)
        maps = word_region_attention(images.regions, texts.words, counted, gamma1=self.config.gamma1)
        return maps.masked_fill(texts.special_mask.unsqueeze(2), 0.0)

    def phrase_map(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """What each region alone would score with the phrase's words, ``[B, R]``."""
        words = texts.word_mask & ~texts.special_mask
        return region_scores(images.regions, texts.words, words, gamma2=self.config.gamma2)

    def _levels(self, features: PairFeatures, gather: Gather, negatives: Negatives) -> dict[str, Level]:
        config = self.config
        levels: dict[str, Level] = {}
        if config.global_weight > 0:
            scores = cosine_matrix(gather(features["image"]), gather(features["report"]))
            levels["global"] = Level(scores, config.global_margin, config.global_weight)
        units = ("word", *(SIZES if config.phrases else ()))
        for unit in units if config.local_weight > 0 else ():
            regions, words, mask = features["regions"], gather(features[unit]), gather(features[f"{unit}_mask"])
            scores = gather(self._local_scores(regions, words, mask, config.aggregation))
            legacy = None
            if config.legacy_triplet_length and config.triplet_weight > 0:
                legacy = negative_report_scores(regions, words, mask, negatives.index, config, gather)
            levels[unit] = Level(scores, config.local_margin, config.local_weight, legacy)
        return levels

    def _local_scores(self, regions: Tensor, words: Tensor, mask: Tensor, aggregation: Aggregation) -> Tensor:
        config = self.config
        return local_similarity(
            regions, words, mask, gamma1=config.gamma1, gamma2=config.gamma2, aggregation=aggregation
        )

    def _counted(self, word_mask: Tensor, special_mask: Tensor) -> Tensor:
        return counted_items(word_mask, special_mask, include_cls=False, include_sep=self.config.include_sep)

    def _draws(self, study: Tensor) -> Tensor:
        """``[B]`` numbers that choose the negatives; outside training a study's is fixed, so that a loss is too."""
        if self.training:
            return torch.randint(_DRAWS, study.shape, device=study.device)
        return study * _MIXING % _DRAWS
