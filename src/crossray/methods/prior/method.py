"""PRIOR: prototype representation joint learning from medical images and reports (Cheng et al., ICCV 2023).

Spec: `prior`, reconstructed from the authors' code; its sections are named below. Three stages, kept in a buffer so
that loaded weights know theirs: ``align`` contrasts films with reports and regions with sentences; ``prototypes`` puts
a bank of learned sentences between; ``reconstruct`` also rebuilds the film from the report and a set of sentences from
the film.

Presets:

- ``clean`` (default): regions are places, slots see each other, predictions are re-ordered by the inverse assignment,
  empty slots count a tenth and can be said, evaluation is deterministic (the argmax prototype), and reports with
  identical text are positives of each other.
- ``reference``: the published code's P1 to P6 and P8. Not in it: P7 (free scales: ``largest_scale: null``), P11 and
  P13, which are matters of the data (mirrored films: ``image.augmentation.horizontal_flip``), P18 (``detach_targets``
  is off in both) and what would only crash or leak (P9, P10, P12, P14, P15, P17, P20).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from crossray.alignment.contrastive import cosine_matrix, symmetric_info_nce
from crossray.alignment.masked import first_real, masked_mean
from crossray.alignment.sentence_terms import absolute_errors
from crossray.data.batch import PairBatch, TokenBatch
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.methods.base import (
    Gather,
    ImageEmbedding,
    LossTerms,
    Method,
    PairFeatures,
    Similarity,
    TextEmbedding,
)
from crossray.methods.positives import gathered_positives, pair_groups
from crossray.methods.prior.config import STAGES, PriorConfig, Stage
from crossray.methods.prior.generation import Generation
from crossray.methods.prior.image_decoder import image_decoder
from crossray.methods.prior.layout import local_tokens, token_maps
from crossray.methods.prior.local_align import LocalContexts
from crossray.methods.prior.local_terms import LocalTerms
from crossray.methods.prior.pooling import SentencePool, image_pool
from crossray.methods.prior.prototype_bank import PrototypeBank, Prototypes
from crossray.methods.prior.terms import PairTerm, ReadReport, mean_over_pairs, mean_over_real
from crossray.products import Linear

_COMPARED_AT_ONCE = 2**23  # weights of regions for sentences
_K_MEANS_ITERATIONS = 20


class Prior(Method):
    """Global and sentence-wise alignment, a bank of prototypes, and reconstruction across modalities.

    What looks at one pair only is computed in :meth:`encode` and handed on as a sum and a count, so that means over all
    sentences of the batch are the same on however many processes and pieces it is spread.

    Args:
        image_encoder: gives the places of the trunk's last map.
        text_encoder: gives the sentences.
        config: see :class:`PriorConfig`.

    Raises:
        ConfigError: the trunk's width does not fit the pool's heads.
    """

    name: ClassVar[str] = "prior"
    stages: ClassVar[tuple[str, ...]] = STAGES
    local_unit: ClassVar[Literal["sentence"]] = "sentence"
    stage_number: Tensor

    def __init__(self, image_encoder: ImageEncoder, text_encoder: TextEncoder, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        self.regions_are_places = config.token_layout == "spatial"
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        channels, width = image_encoder.pooled_channels, config.embed_dim
        self.image_pool = image_pool(channels, config)
        self.global_projection = Linear(channels, width)
        self.local_projection = Linear(channels, width)
        self.sentence_projection = Linear(text_encoder.channels, width)
        for projection in (self.global_projection, self.local_projection, self.sentence_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        self.sentence_pool = SentencePool(width, config.pool_heads)
        self.local = LocalTerms(config)
        self.bank = PrototypeBank(config)
        self.generation = Generation(config)
        self.image_decoder = image_decoder(image_encoder, config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        self.register_buffer("stage_number", torch.tensor(STAGES.index(config.initial_stage)))
        self._stage: Stage = config.initial_stage
        self.register_load_state_dict_post_hook(_read_stage)  # type: ignore[no-untyped-call]  # torch's
        self._clamp_scales()

    @property
    def stage(self) -> Stage:
        """The stage of the objective: what the buffer says, without reading it from the device."""
        return self._stage

    def enter_stage(self, stage: str) -> None:
        """Change the objective; leaving ``align`` may start the bank from the sentences of that stage."""
        super().enter_stage(stage)
        if self.stage == "align" and stage != "align":
            self.bank.start_from_remembered(_K_MEANS_ITERATIONS)
        number = STAGES.index(stage)
        self.stage_number.fill_(number)
        self._stage = STAGES[number]

    def before_step(self, epoch: int) -> None:
        """Nothing that was seen outside a step moves prototypes."""
        self.bank.forget_observations()

    def after_step(self) -> None:
        """Clamp the scales; move on the bank's running means and temperature."""
        self._clamp_scales()
        if self.stage != "align":
            self.bank.end_step()

    def encode(self, batch: PairBatch) -> PairFeatures:
        """``image [B, D]`` and ``report [B, D]``, groups, and of each term of the stage its totals and counts ``[B]``.

        In stage ``reconstruct`` further ``predicted [B, D]``; where the bank learns from sentences as they are, also
        ``seen [B, slots, D]`` and, with the host, ``seen_mask [B, slots]``.
        """
        stage = self.stage
        weights = self.config.stage_weights(stage)
        films = self.embed_images(batch.pixels)
        report = self._read(batch.tokens, self.config.slots if stage == "reconstruct" else None)
        features = pair_groups(batch)
        if "global" in weights:
            features["image"] = films.pooled
        if {"global", "prediction"} & weights.keys():
            features["report"] = report.pooled
        terms: dict[str, PairTerm] = {}
        if {"local_text", "local_image", "reconstruction"} & weights.keys():
            contexts = self.local.align(films.regions, report.sentences, report.mask)
            terms |= self.local(films.regions, report, contexts, weights)
            if "reconstruction" in weights:
                terms["reconstruction"] = self._reconstruction(films, contexts, batch.pixels)
        if "prototype" in weights and report.bank is not None:
            terms["prototype"] = self._prototype_error(report, report.bank)
        if {"generation", "query", "prediction"} & weights.keys():
            generated = self.generation(films.regions, report, self.bank, self.sentence_pool, weights)
            terms |= generated.terms
            if generated.pooled is not None:
                features["predicted"] = generated.pooled
        for name, term in terms.items():
            features |= {f"{name}_total": term.total, f"{name}_count": term.count}
        return features | self._seen(report, stage)

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """The terms of the stage (3.9), over the pairs of all processes."""
        weights = self.config.stage_weights(self.stage)
        positives = gathered_positives(self.config.positives, features, gather)
        terms: dict[str, Tensor] = {}
        for name in weights:
            if name == "global":
                terms[name] = self._contrast(gather(features["image"]), gather(features["report"]), positives)
            elif name == "prediction":
                report = gather(features["report"])
                report = report.detach() if self.config.detach_targets else report
                terms[name] = self._contrast(gather(features["predicted"]), report, positives)
            else:
                total, count = gather(features[f"{name}_total"]), gather(features[f"{name}_count"])
                terms[name] = total.sum() / count.sum().clamp_min(1)
        if "seen" in features and self.training:
            self._learn_from_seen(gather(features["seen"]), gather(features["seen_mask"]))
        return LossTerms(terms, weights)

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """Films in the joint space: g^v and regions V of the trunk's last map (2.1)."""
        features = self.image_encoder.places(pixels)
        pooled = features.pooled
        if self.image_pool is not None:
            pooled = self.image_pool(features.regions, features.grid)
        return ImageEmbedding(
            pooled=self.global_projection(pooled),
            regions=self.local_projection(local_tokens(features.regions, self.config.token_layout)),
            grid=features.grid,
        )

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Reports or prompts in the joint space: g^t, and as items the sentences that the stage aligns, all of them."""
        report = self._read(tokens, None)
        return TextEmbedding(
            report=report.pooled,
            words=report.sentences,
            word_mask=report.mask,
            special_mask=torch.zeros_like(report.mask),
        )

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Cosines, and as local score how regions and sentences weigh each other (``LocalAlign.match``)."""
        per_text = images.regions.shape[0] * images.regions.shape[1] * max(texts.words.shape[1], 1)
        size = max(_COMPARED_AT_ONCE // per_text, 1)
        pieces = [
            self.local.align.match(
                images.regions, texts.words[start : start + size], texts.word_mask[start : start + size]
            )
            for start in range(0, len(texts.words), size)
        ]
        scored = [piece for piece in pieces if piece is not None]
        return Similarity(
            global_scores=cosine_matrix(images.pooled, texts.report),
            local_scores=torch.cat(scored, dim=1) if scored else None,
        )

    def class_probabilities(self, scores: Similarity) -> Tensor:
        """The published zero-shot scores ``[N, C]`` of N films for C prompts (`downstream_protocols` spec, 3.2).

        A softmax over classes of the scaled cosines plus half a softmax of the local scores. With ``zero_shot_scale:
        log`` the cosines are multiplied by the log-scale, which gives the local part as much to say (P8).
        """
        scale = self.log_scale if self.config.zero_shot_scale == "log" else self.log_scale.exp()
        chosen = (scale.to(scores.global_scores) * scores.global_scores).softmax(dim=1)
        return chosen if scores.local_scores is None else chosen + scores.local_scores.softmax(dim=1) / 2

    def phrase_map(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """Where a phrase's sentences look, mean of them: ``[B, R]``, each between 0 and 1."""
        contexts = self.local.align(images.regions, texts.words, texts.word_mask)
        return masked_mean(contexts.sentence_to_region, texts.word_mask, dim=1)

    def _read(self, tokens: TokenBatch, limit: int | None) -> ReadReport:
        """Sentences as the stage sees them, the first ``limit`` of each report (2.2 to 2.4)."""
        features = self.text_encoder(tokens)
        counted = self.text_encoder.item_masks(tokens.readable).sentences.sum(dim=1)
        slots = max(counted.tolist(), default=0)
        slots = max(slots if limit is None else min(slots, limit), 1)
        sentences, mask = first_real(features.sentences, features.sentence_mask, slots)
        raw = self.sentence_projection(sentences).masked_fill(~mask.unsqueeze(2), 0.0)
        bank = None if self.stage == "align" else self.bank(raw)
        chosen = raw if bank is None else bank.vectors.masked_fill(~mask.unsqueeze(2), 0.0)
        return ReadReport(raw, chosen, mask, counted, bank, self.sentence_pool(chosen, mask))

    def _prototype_error(self, report: ReadReport, bank: Prototypes) -> PairTerm:
        """How far prototypes are from the sentences they stand for (3.4)."""
        # Prototypes that move by themselves leave only the sentences to be drawn.
        held = self.config.detach_targets and not self.bank.moves_by_means
        wanted = report.raw.detach() if held else report.raw
        return mean_over_real(absolute_errors(bank.compared, wanted), report.mask)

    def _reconstruction(self, films: ImageEmbedding, contexts: LocalContexts, pixels: Tensor) -> PairTerm:
        """Mean absolute error of the rebuilt film, every pixel of it (3.5)."""
        layout = self.config.token_layout
        rebuilt = self.image_decoder(
            token_maps(films.regions, films.grid, layout),
            token_maps(contexts.of_regions.to(films.regions.dtype), films.grid, layout),
            (pixels.shape[2], pixels.shape[3]),
        )
        errors = absolute_errors(rebuilt.flatten(1), pixels.flatten(1))
        return mean_over_pairs(errors, torch.ones_like(errors, dtype=torch.bool))

    def _seen(self, report: ReadReport, stage: Stage) -> PairFeatures:
        """The first sentences of each report, where the bank learns from sentences rather than by gradient."""
        remembers = stage == "align" and self.config.k_means_sentences > 0
        if not (remembers or (stage != "align" and self.bank.moves_by_means)):
            return {}
        slots = self.config.slots  # the same for all pieces of a batch
        missing = max(slots - report.raw.shape[1], 0)
        seen = nn.functional.pad(report.raw.detach()[:, :slots], (0, 0, 0, missing))
        return {"seen": seen, "seen_mask": torch.arange(slots) < report.counted.unsqueeze(1)}

    def _learn_from_seen(self, seen: Tensor, mask: Tensor) -> None:
        if self.stage == "align":
            self.bank.remember(seen, mask)
        else:
            self.bank.observe(seen, mask)

    def _contrast(self, first: Tensor, second: Tensor, positives: Tensor) -> Tensor:
        """InfoNCE, the mean of both directions (3.1)."""
        both = symmetric_info_nce(
            cosine_matrix(first, second),
            positives,
            scale=self.log_scale.exp(),
            other_positives=self.config.other_positives,
        )
        return (both.image_to_text + both.text_to_image) / 2

    @torch.no_grad()
    def _clamp_scales(self) -> None:
        if self.config.largest_scale is not None:
            for log_scale in (self.log_scale, self.local.log_scale):
                log_scale.clamp_(max=math.log(self.config.largest_scale))


def _read_stage(model: Prior, _: object) -> None:
    """Whoever loads the buffer waits for it once, so that no step has to."""
    model._stage = STAGES[int(model.stage_number)]
