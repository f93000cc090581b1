"""MGCA: instances (ITA), tokens (CTA) and prototypes (CPA) of films and reports aligned at once.

Spec: `baselines`, section 3. Presets:

- ``clean`` (default): identical texts are positives of each other; padding has no influence; [SEP] is no word; all
  processes' pairs meet in ITA and in Sinkhorn's batch.
- ``reference``: what the published code does with a ResNet: a pair's own report is its only positive, [SEP] is a word,
  padded words stand in the denominators, and ITA and Sinkhorn see the pairs of their own process only.
- ``reference_vit``: the same with a ViT: patches are weighed by attention, and what a patch sees is not re-normalised.

Not reproduced: the class defaults of the weights that its command line overrides, its learned attention (an option
that is off), and that its sub-sampling reads another list than the one it has sub-sampled.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.alignment.contrastive import cosine_matrix, symmetric_info_nce
from crossray.alignment.local_contrast import local_contrast, weighted_pair_loss
from crossray.alignment.masked import masked_softmax
from crossray.alignment.quantiles import clipped_shares
from crossray.alignment.sinkhorn import swapped_prediction
from crossray.data.batch import PairBatch, TokenBatch
from crossray.encoders.features import TextFeatures
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.errors import ConfigError
from crossray.methods.base import (
    Gather,
    ImageEmbedding,
    LossTerms,
    Method,
    PairFeatures,
    Similarity,
    SingleProcess,
    TextEmbedding,
)
from crossray.methods.mgca.config import MgcaConfig
from crossray.methods.mgca.heads import Head
from crossray.methods.positives import gathered_positives, pair_groups
from crossray.methods.words import mean_attention

_LOW, _HIGH = 0.1, 0.9


class Mgca(Method):
    """Multi-granularity alignment.

    Attributes:
        prototypes: Z ``[K, D]``, rows of length 1.

    Raises:
        ConfigError: weights by attention are asked for, and the encoder does not give its attention.
    """

    name: ClassVar[str] = "mgca"
    local_unit: ClassVar[Literal["word"]] = "word"

    def __init__(self, image_encoder: ImageEncoder, text_encoder: TextEncoder, config: MgcaConfig) -> None:
        super().__init__()
        _require_attention(config.word_weights, text_encoder.config.class_attention, "word", "text_encoder")
        _require_attention(config.patch_weights, image_encoder.config.class_attention, "patch", "image_encoder")
        self.config = config
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        hidden, width = config.hidden_dim, config.embed_dim
        self.image_head = Head(image_encoder.pooled_channels, hidden, width)
        self.patch_head = Head(image_encoder.local_channels, hidden, width)
        self.report_head = Head(text_encoder.channels, hidden, width)
        self.word_head = Head(text_encoder.channels, hidden, width)
        self.prototypes = nn.Parameter(F.normalize(torch.randn(config.prototypes, width), dim=1))

    def before_step(self, epoch: int) -> None:
        """Hold the prototypes still at first: codes of features that know nothing would drag them about."""
        self.prototypes.requires_grad_(epoch >= self.config.still_epochs)

    @torch.no_grad()
    def after_step(self) -> None:
        """Bring the prototypes back to length 1."""
        self.prototypes.copy_(F.normalize(self.prototypes, dim=1))

    def encode(self, batch: PairBatch) -> PairFeatures:
        """g^v ``image [B, D]``, v ``patches [B, R, D]``, g^t ``report [B, D]``, t ``words [B, W, D]``, of length 1.

        Further: ``word_mask [B, W]``, ``word_weights [B, W]``, ``patch_weights [B, R]`` and groups.
        """
        films, reports = self.image_encoder(batch.pixels), self.text_encoder(batch.tokens)
        words, word_mask, word_weights = self._words_of(reports)
        there = self.text_encoder.item_masks(batch.tokens.readable)
        real = None if self.config.padding_counts else self._real_words(there.words, there.special)
        uniform = films.regions.new_full(films.regions.shape[:2], 1.0)
        return {
            "image": F.normalize(self.image_head(films.pooled), dim=1),
            "patches": F.normalize(self.patch_head(films.regions), dim=2),
            "report": F.normalize(self.report_head(reports.report), dim=1),
            "words": F.normalize(self.word_head(words, real), dim=2),
            "word_mask": word_mask,
            "word_weights": clipped_shares(word_weights, _LOW, _HIGH),
            "patch_weights": clipped_shares(
                films.attention if self.config.patch_weights == "attention" else uniform, _LOW, _HIGH
            ),
            **pair_groups(batch),
        }

    def _words_of(self, reports: TextFeatures) -> tuple[Tensor, Tensor, Tensor]:
        """Items after [CLS] before the head, their mask, and their weights (0 on padding)."""
        mask = self._real_words(reports.word_mask, reports.special_mask)
        words, attention = reports.words[:, 1:], reports.word_attention
        if self.config.word_weights == "uniform" or attention is None:
            weights = mask.to(words.dtype)
        else:
            weights = attention[:, 1:].masked_fill(~mask, 0.0)
        if self.config.padding_counts:
            more = max(self.text_encoder.config.max_tokens - 1 - mask.shape[1], 0)
            words, mask, weights = F.pad(words, (0, 0, 0, more)), F.pad(mask, (0, more)), F.pad(weights, (0, more))
        return words, mask, weights

    def _real_words(self, word_mask: Tensor, special_mask: Tensor) -> Tensor:
        """Which items after [CLS] count, ``[B, W - 1]``."""
        mask = word_mask[:, 1:]
        return mask if self.config.include_sep else mask & ~special_mask[:, 1:]

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """ITA both ways, CTA of words and of patches, CPA; a level whose weight is 0 is not computed.

        Where processes keep to themselves, each term is the mean of theirs.
        """
        config = self.config
        reach = gather if config.across_processes else SingleProcess()
        terms: dict[str, Tensor] = {}
        if config.instance_weight > 0:
            both = symmetric_info_nce(
                cosine_matrix(reach(features["image"]), reach(features["report"])),
                gathered_positives(config.positives, features, reach),
                scale=1 / config.temperature,
                other_positives=config.other_positives,
            )
            terms["instance_image_to_text"] = _over_processes(both.image_to_text, gather)
            terms["instance_text_to_image"] = _over_processes(both.text_to_image, gather)
        if config.token_weight > 0:
            terms["token_words"] = gather(self._word_losses(features)).mean()
            terms["token_patches"] = gather(self._patch_losses(features)).mean()
        if config.prototype_weight > 0:
            films, reports = (reach(features[side]).to(self.prototypes.dtype) for side in ("image", "report"))
            swapped = swapped_prediction(
                films @ self.prototypes.T,
                reports @ self.prototypes.T,
                epsilon=config.sinkhorn_epsilon,
                iterations=config.sinkhorn_iterations,
                temperature=config.prototype_temperature,
            )
            terms["prototype"] = _over_processes(swapped, gather)
        weights = {
            "instance": config.instance_weight,
            "token": config.token_weight,
            "prototype": config.prototype_weight,
        }
        return LossTerms(terms, {name: weights[name.split("_")[0]] for name in terms})

    def _word_losses(self, features: PairFeatures) -> Tensor:
        """L_w of each pair, ``[B]``: words attend to patches, and find what they saw among the report's words."""
        words, mask = features["words"], features["word_mask"]
        contexts = F.normalize(self._seen_by_words(words, features["patches"]) @ features["patches"], dim=2)
        own = torch.eye(words.shape[1], device=words.device, dtype=words.dtype)
        denominators = torch.ones_like(mask) if self.config.padding_counts else mask
        both = local_contrast(words, contexts, own, denominators, temperature=self.config.token_temperature)
        return weighted_pair_loss(both, features["word_weights"], mask)

    def _patch_losses(self, features: PairFeatures) -> Tensor:
        """L_pa of each pair, ``[B]``: patches attend to words, and find what they saw among the film's patches."""
        patches, words, mask = features["patches"], features["words"], features["word_mask"].unsqueeze(1)
        attention = masked_softmax(patches @ words.mT / self.config.token_temperature, mask, dim=2)
        own = torch.eye(patches.shape[1], device=patches.device, dtype=patches.dtype)
        all_patches = torch.ones_like(features["patch_weights"], dtype=torch.bool)
        both = local_contrast(
            patches,
            attention @ words,
            own,
            all_patches,
            temperature=self.config.token_temperature,
            cosine=self.config.normalise_patch_context,
        )
        return weighted_pair_loss(both, features["patch_weights"], all_patches)

    def _seen_by_words(self, words: Tensor, patches: Tensor) -> Tensor:
        """beta ``[B, W, R]`` of unit vectors; each row sums to 1."""
        return (words @ patches.mT / self.config.token_temperature).softmax(dim=2)

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """Films in the joint space: wholes and patches."""
        films = self.image_encoder(pixels)
        return ImageEmbedding(self.image_head(films.pooled), self.patch_head(films.regions), films.grid)

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Reports or prompts in the joint space; item 0 is [CLS], which no loss has seen there."""
        reports = self.text_encoder(tokens)
        return TextEmbedding(
            self.report_head(reports.report), self.word_head(reports.words), reports.word_mask, reports.special_mask
        )

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Cosines. Tokens are aligned inside pairs only, so that there is no published local score."""
        return Similarity(global_scores=cosine_matrix(images.pooled, texts.report), local_scores=None)

    def attention(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """beta of film i's text i, ``[B, W, R]``; rows of [CLS], [SEP] and padding are zero."""
        maps = self._seen_by_words(F.normalize(texts.words, dim=2), F.normalize(images.regions, dim=2))
        return maps.masked_fill(~(texts.word_mask & ~texts.special_mask).unsqueeze(2), 0.0)

    def phrase_map(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """Mean attention of the phrase's words, ``[B, R]``."""
        return mean_attention(self.attention(images, texts), texts)


def _over_processes(term: Tensor, gather: Gather) -> Tensor:
    """The mean of the processes' values: the same on all, and the value itself where they agree."""
    return gather(term.unsqueeze(0)).mean()


def _require_attention(weights: str, gives: bool, item: str, encoder: str) -> None:
    if weights == "attention" and not gives:
        raise ConfigError(
            f"{item}s are to be weighed by attention, and the encoder does not give its attention.",
            field=f"method.{item}_weights",
            remedy=f"Set {encoder}.class_attention=true, or method.{item}_weights=uniform.",
        )
