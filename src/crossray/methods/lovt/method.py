"""LoVT: films and reports contrasted as wholes, and regions and sentences with what they see in each other.

Spec: `lovt`, sections 2 and 3. The image encoder's last map gives the regions (``image_encoder.local_stage`` is not
read), the maximum over each sentence's tokens (``text_encoder.sentence_pooling=max``) the sentences. Presets:

- ``clean`` (default): reports with identical text are positives of each other; what is padded is in no mean and no
  batch norm; the alignment's two directions have running statistics of their own.
- ``reference``: what the published code does. A pair's own report is its only positive; the query that pools sentences
  is divided by the longest report of the batch (section 5.3), also when embedding; padded sentences are in the batch
  norms (5.4); the alignment's directions mix their running statistics (5.5). Not reproduced: sentences without a
  word-piece become minus infinity (5.9; here they are no sentences), validation draws films at random (5.10),
  distances are rounded to float32 (5.16).

The schedule, the order of sentences, the films' augmentation and the size of the batch (rows 1, 2 and 10 to 14 of
section 5) are the recipe's.

Everything behind the encoders runs in ``losses``: the batch that the heads' batch norms see is the batch that is
contrasted, also under gradient caching, which is therefore exact wherever the encoders are. With several processes
each normalises by its own pairs, like ``image_encoder.batch_norm: local``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from crossray.alignment.contrastive import cosine_matrix, symmetric_info_nce
from crossray.alignment.grid_positives import grid_positives
from crossray.alignment.local_contrast import local_contrast, weighted_pair_loss
from crossray.alignment.masked import masked_mean
from crossray.data.batch import PairBatch, TokenBatch
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.methods.attention_pool import AttentionPool, Pooled
from crossray.methods.base import Gather, ImageEmbedding, LossTerms, Method, PairFeatures, Similarity, TextEmbedding
from crossray.methods.lovt.alignment import AlignmentAttention
from crossray.methods.lovt.config import LovtConfig, Pooling
from crossray.methods.lovt.heads import PooledHead, ProjectionHead
from crossray.methods.places import place_cosines
from crossray.methods.positives import gathered_positives, pair_groups


class Lovt(Method):
    """Global contrast of pairs, and local contrast of regions and sentences inside each pair.

    Args:
        image_encoder: its last map, or what it pooled.
        text_encoder: its sentences, or what it pooled.
        config: see :class:`LovtConfig`.

    Raises:
        ConfigError: an encoder's width cannot be divided among the heads of its attention pool.
    """

    name: ClassVar[str] = "lovt"
    local_unit: ClassVar[Literal["sentence"]] = "sentence"

    def __init__(self, image_encoder: ImageEncoder, text_encoder: TextEncoder, config: LovtConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        films, texts = image_encoder.pooled_channels, text_encoder.channels
        self.film_head = PooledHead(_head(films, config), _pool(films, config.image_pool, config))
        self.report_head = PooledHead(_head(texts, config), _pool(texts, config.report_pool, config))
        if config.has_local_terms:
            self.region_head = _head(films, config)
            self.sentence_head = _head(texts, config)
            self.alignment = AlignmentAttention(config.embed_dim, shared_statistics=config.shared_running_statistics)

    def encode(self, batch: PairBatch) -> PairFeatures:
        """What the terms need of the encoders, and groups.

        ``regions [B, rows, columns, C]`` or ``film [B, C]``; ``sentences [B, S, C]`` with ``sentence_mask [B, S]`` or
        ``report [B, C]``; both of each where wholes are pooled by the encoders and parts are aligned. Beside sentences
        ``sentence_slots [B]``, with the host: up to a report's last one.
        """
        config = self.config
        contrasts, aligns = config.global_weight > 0, config.has_local_terms
        features = pair_groups(batch)
        images = self.image_encoder.places(batch.pixels)
        if aligns or config.image_pool == "attention":
            features["regions"] = images.regions.view(len(batch), *images.grid, -1)
        if contrasts and config.image_pool == "encoder":
            features["film"] = images.pooled
        texts = self.text_encoder(batch.tokens)
        if aligns or config.report_pool == "attention":
            features["sentences"], features["sentence_mask"] = texts.sentences, texts.sentence_mask
            features["sentence_slots"] = self._sentence_slots(batch.tokens)
        if contrasts and config.report_pool == "encoder":
            features["report"] = texts.report
        return features

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """The terms of section 3: the global ones over the pairs of all processes, the local ones their mean."""
        config = self.config
        if "sentences" in features:
            # Longest over all processes: the padded mean must not depend on how the batch is spread.
            slots = int(gather(features["sentence_slots"]).amax())
            features = {**features, **{name: features[name][:, :slots] for name in ("sentences", "sentence_mask")}}
        terms: dict[str, Tensor] = {}
        film = report = None
        if config.global_weight > 0:
            film, report = self._film(features), self._report(features)
            both = symmetric_info_nce(
                cosine_matrix(gather(film.vector), gather(report.vector)),
                gathered_positives(config.positives, features, gather),
                scale=1 / config.temperature,
                other_positives=config.other_positives,
            )
            terms = {"global_image_to_text": both.image_to_text, "global_text_to_image": both.text_to_image}
        if config.has_local_terms:
            terms |= self._local_terms(features, film, report, gather)
        weights = config.term_weights
        return LossTerms({name: terms[name] for name in weights}, weights)

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """Films and regions in the joint space; without local terms, what the global head makes of each place."""
        images = self.image_encoder.places(pixels)
        film = self.film_head(images.pooled if self.film_head.pool is None else images.regions)
        places = images.regions
        regions = self.region_head(places) if self.config.has_local_terms else self.film_head.each(places)
        return ImageEmbedding(film.vector, regions, images.grid)

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Reports or prompts in the joint space; items are sentences, and there are none without local terms."""
        texts = self.text_encoder(tokens)
        slots = max(self._sentence_slots(tokens).tolist(), default=1)
        sentences, mask = texts.sentences[:, :slots], texts.sentence_mask[:, :slots]
        report = self._report({"report": texts.report, "sentences": sentences, "sentence_mask": mask}).vector
        if self.config.has_local_terms:
            items = self.sentence_head(sentences, mask).masked_fill(~mask.unsqueeze(2), 0.0)
        else:
            items, mask = report.new_zeros(len(report), 0, report.shape[1]), mask[:, :0]
        return TextEmbedding(report, items, word_mask=mask, special_mask=torch.zeros_like(mask))

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Cosines of wholes, the only published score.

        With ``local_score`` also the mean, over a report's sentences, of the cosine between a sentence and what it
        sees in the film. The local report term compares these inside a pair only, so nothing has taught them to be
        comparable across films: they are off unless asked for.
        """
        local = None
        if self.config.local_score:
            local = self.alignment.scores(images.regions, texts.words, texts.word_mask)
        return Similarity(global_scores=cosine_matrix(images.pooled, texts.report), local_scores=local)

    def phrase_map(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """``[B, R]`` where the phrase's sentences look, their mean; cosines with each place if nothing is aligned."""
        if not self.config.has_local_terms:
            return place_cosines(images, texts)
        maps = self.alignment.sentence_maps(images.regions, texts.words, texts.word_mask)
        return masked_mean(maps, texts.word_mask, dim=1)

    def _sentence_slots(self, tokens: TokenBatch) -> Tensor:
        """``[B]``, with the host: how many of the padded slots up to a report's last sentence; at least 1."""
        mask = self.text_encoder.item_masks(tokens.readable).sentences
        return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(dim=1).clamp_min(1)

    def _film(self, features: PairFeatures) -> Pooled:
        if self.film_head.pool is None:
            pooled: Pooled = self.film_head(features["film"])
        else:
            pooled = self.film_head(features["regions"].flatten(1, 2))
        return pooled

    def _report(self, features: PairFeatures) -> Pooled:
        if self.report_head.pool is None:
            pooled: Pooled = self.report_head(features["report"])
        else:
            padded_mean = self.config.padded_mean_query
            pooled = self.report_head(features["sentences"], features["sentence_mask"], padded_mean=padded_mean)
        return pooled

    def _local_terms(
        self, features: PairFeatures, film: Pooled | None, report: Pooled | None, gather: Gather
    ) -> dict[str, Tensor]:
        """The local terms: means over the pairs whose report has a sentence."""
        config = self.config
        rows, columns = features["regions"].shape[1:3]
        places, sentence_mask = features["regions"].flatten(1, 2), features["sentence_mask"]
        region_mask = torch.ones_like(places[:, :, 0], dtype=torch.bool)
        normed = torch.ones_like(sentence_mask) if config.norm_over_padding else sentence_mask
        regions = self.region_head(places)
        sentences = self.sentence_head(features["sentences"], normed)
        contexts = self.alignment(regions, sentences, sentence_mask, norm_over_padding=config.norm_over_padding)
        of_pairs: dict[str, Tensor] = {}
        if config.local_image_weight > 0:
            threshold, decay = config.distance_threshold, config.distance_decay
            near = grid_positives(rows, columns, threshold=threshold, decay=decay, like=regions)
            of_pairs["local_image"] = self._local_loss(regions, contexts.of_regions, near, region_mask, film)
        if config.local_report_weight > 0:
            own = torch.eye(sentence_mask.shape[1], device=sentence_mask.device)
            of_pairs["local_report"] = self._local_loss(sentences, contexts.of_sentences, own, sentence_mask, report)
        has_text = gather(sentence_mask.any(dim=1))
        return {name: _mean(gather(losses), has_text) for name, losses in of_pairs.items()}

    def _local_loss(
        self, items: Tensor, contexts: Tensor, positives: Tensor, mask: Tensor, pooled: Pooled | None
    ) -> Tensor:
        """``[B]`` of items and what they see; weighted by the pool's attention, or alike."""
        losses = local_contrast(items, contexts, positives, mask, temperature=self.config.local_temperature)
        if pooled is not None and self.config.weighting == "attention":
            return weighted_pair_loss(losses, pooled.weights, mask)
        return weighted_pair_loss(losses, mask.to(items.dtype), mask)


def _head(channels: int, config: LovtConfig) -> ProjectionHead:
    return ProjectionHead(channels, config.hidden_dim, config.embed_dim, batch_norm=config.batch_norm)


def _pool(channels: int, pooling: Pooling, config: LovtConfig) -> AttentionPool | None:
    return AttentionPool(channels, config.pool_heads) if pooling == "attention" else None


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values ``[B]`` of the mask; 0 if there is none."""
    return masked_mean(values.unsqueeze(1), mask, dim=0)[0]
