"""GLoRIA's objective: films and reports contrasted as wholes, and through words that attend to regions.

Spec: `global_local`, sections 2 and 3. Presets:

- ``clean`` (default): reports with identical text are positives of each other; every real word counts, and nothing
  else does.
- ``reference``: what the published code does. A pair's own report is its only positive, so that shared texts are each
  other's negatives (section 7.11), a report with U unknown words loses its last U words from the local term
  (section 7.13), and a prompt has as many words as it has characters (7.1): [SEP] and zero vectors stand behind its
  words, share in the softmax over words and, with their cosine of 0, put a floor under the best word.

In both, zero-shot takes the best word without [CLS], unlike training (7.8; ``zero_shot_aggregation``,
``zero_shot_include_cls``). The published evaluation in training mode (7.2) is not reproduced: its scores depend on
the other films of the batch and on chance.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.alignment.contrastive import OtherPositives, cosine_matrix, symmetric_info_nce
from crossray.alignment.local_similarity import Aggregation, local_similarity, region_scores, word_region_attention
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
    Positives,
    Similarity,
    TextEmbedding,
)
from crossray.methods.positives import gathered_positives, pair_groups
from crossray.methods.presets import with_preset
from crossray.methods.words import PromptLength, character_slots, counted_items
from crossray.products import Linear
from crossray.settings import Settings

_PRESETS: dict[str, dict[str, Any]] = {
    "clean": {},
    "reference": {"positives": "identity", "unknown_words_shorten": True, "prompt_length": "characters"},
}


class GlobalLocalConfig(Settings):
    """The objective, by the symbols of the spec.

    Attributes:
        preset: defaults for everything not given (see the module).
        gamma1: sharpness of the attention over regions.
        gamma2: scale of the word cosines.
        gamma3: scale of both contrastive terms, one over the temperature.
        global_weight: lambda_g, of both global directions.
        local_weight: lambda_l, of both local directions.
        aggregation: over a report's words; ``sum`` rewards long reports by gamma3 log W, ``mean`` does not.
        include_cls: whether [CLS] counts as a word in training and retrieval.
        include_sep: whether [SEP] does.
        normalise: scale regions and words to length 1 before attention.
        positives: which pairs count as positives (``alignment.contrastive``).
        other_positives: what happens to those besides the own pair (``alignment.contrastive``).
        embed_dim: width of the joint space; empty takes the text encoder's.
        text_projection: project reports and words too; needed where ``embed_dim`` is not the text encoder's width.
        unknown_words_shorten: the defect of section 7.13.
        prompt_length: what a prompt's items are counted by in zero-shot scores: its ``words``, or the ``characters`` of
            its raw text (the defect of section 7.1, see ``words.character_slots``).
        zero_shot_aggregation: over a prompt's words; published is ``max``, whatever training does (section 7.8).
        zero_shot_include_cls: whether [CLS] counts as a word there.
    """

    name: Literal["global_local"] = "global_local"
    preset: Literal["clean", "reference"] = "clean"
    gamma1: float = Field(default=4.0, gt=0)
    gamma2: float = Field(default=5.0, gt=0)
    gamma3: float = Field(default=10.0, gt=0)
    global_weight: float = Field(default=1.0, ge=0)
    local_weight: float = Field(default=1.0, ge=0)
    aggregation: Aggregation = "sum"
    include_cls: bool = True
    include_sep: bool = False
    normalise: bool = False
    positives: Positives = "same_text"
    other_positives: OtherPositives = "target"
    embed_dim: int | None = Field(default=None, ge=1)
    text_projection: bool = False
    unknown_words_shorten: bool = False
    prompt_length: PromptLength = "words"
    zero_shot_aggregation: Aggregation = "max"
    zero_shot_include_cls: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return with_preset(values, _PRESETS, "clean")

    @model_validator(mode="after")
    def _something_is_learned(self) -> GlobalLocalConfig:
        if self.global_weight == 0 and self.local_weight == 0:
            raise ValueError("global_weight and local_weight are both 0: nothing would be learned")
        return self


class GlobalLocal(Method):
    """Global and local contrast of films and reports.

    Args:
        image_encoder: gives pooled and region features.
        text_encoder: gives report and word features.
        config: see :class:`GlobalLocalConfig`.
        unknown_id: the tokenizer's [UNK].

    Raises:
        ConfigError: the width of the joint space is not the text encoder's, and text is not projected.
    """

    name: ClassVar[str] = "global_local"
    local_unit: ClassVar[Literal["word"]] = "word"

    def __init__(
        self, image_encoder: ImageEncoder, text_encoder: TextEncoder, config: GlobalLocalConfig, *, unknown_id: int
    ) -> None:
        super().__init__()
        width = config.embed_dim or text_encoder.channels
        if width != text_encoder.channels and not config.text_projection:
            raise ConfigError(
                f"the text encoder is {text_encoder.channels} wide, the joint space {width}.",
                field="method.embed_dim",
                remedy="Leave it empty, or set method.text_projection=true.",
            )
        self.config = config
        self.unknown_id = unknown_id
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.global_projection = Linear(image_encoder.pooled_channels, width)
        self.local_projection = Linear(image_encoder.local_channels, width, bias=False)
        self.report_projection = Linear(text_encoder.channels, width) if config.text_projection else nn.Identity()
        self.word_projection = (
            Linear(text_encoder.channels, width, bias=False) if config.text_projection else nn.Identity()
        )

    def encode(self, batch: PairBatch) -> PairFeatures:
        """``image [B, D]``, ``regions [B, R, D]``, ``report [B, D]``, ``words [B, L, D]``, ``word_mask [B, L]``.

        The mask holds the items that the local term counts; it stays with the host.
        Further: ``text_group`` and ``label_codes``.
        """
        images = self.embed_images(batch.pixels)
        texts = self.embed_texts(batch.tokens)
        readable = batch.tokens.readable
        items = self.text_encoder.item_masks(readable)
        word_mask = self._scored_items(items.words, items.special)
        if self.config.unknown_words_shorten:
            word_mask = _without_last_words(word_mask, items.special, self._unknown_words(readable))
        return {
            "image": images.pooled,
            "regions": images.regions,
            "report": texts.report,
            "words": texts.words,
            "word_mask": word_mask,
            **pair_groups(batch),
        }

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        """The four terms of section 3, over the pairs of all processes.

        Each process scores its own films against every report; a level whose weight is 0 is not computed.
        """
        config = self.config
        scores: dict[str, Tensor] = {}
        if config.global_weight > 0:
            scores["global"] = cosine_matrix(gather(features["image"]), gather(features["report"]))
        if config.local_weight > 0:
            words, word_mask = gather(features["words"]), gather(features["word_mask"])
            scores["local"] = gather(self._local_scores(features["regions"], words, word_mask, config.aggregation))
        positives = gathered_positives(config.positives, features, gather)
        terms: dict[str, Tensor] = {}
        for level, matrix in scores.items():
            both = symmetric_info_nce(matrix, positives, scale=config.gamma3, other_positives=config.other_positives)
            terms[f"{level}_image_to_text"] = both.image_to_text
            terms[f"{level}_text_to_image"] = both.text_to_image
        weights = {"global": config.global_weight, "local": config.local_weight}
        return LossTerms(terms, {name: weights[name.split("_")[0]] for name in terms})

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """Films in the joint space: global vectors v and region vectors V (section 2.1)."""
        features = self.image_encoder(pixels)
        return ImageEmbedding(
            pooled=self.global_projection(features.pooled),
            regions=self.local_projection(features.regions),
            grid=features.grid,
        )

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Reports or prompts in the joint space: t and E (section 2.2)."""
        features: TextFeatures = self.text_encoder(tokens)
        return TextEmbedding(
            report=self.report_projection(features.report),
            words=self.word_projection(features.words),
            word_mask=features.word_mask,
            special_mask=features.special_mask,
        )

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Cosines, and local scores: as in training for retrieval; the best real word for zero-shot (section 6.2)."""
        if purpose == "retrieval":
            items, aggregation = texts.words, self.config.aggregation
            scored = self._scored_items(texts.word_mask, texts.special_mask)
        else:
            items, scored = self._prompt_items(texts)
            aggregation = self.config.zero_shot_aggregation
        return Similarity(
            global_scores=cosine_matrix(images.pooled, texts.report),
            local_scores=self._local_scores(images.regions, items, scored, aggregation),
        )

    def attention(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """Where each word of film i's text i looks: ``[B, W, R]``; rows of [CLS], [SEP] and padding are zero."""
        regions, words = self._comparable(images.regions, texts.words)
        scored = self._scored_items(texts.word_mask, texts.special_mask) | (texts.word_mask & ~texts.special_mask)
        maps = word_region_attention(regions, words, scored, gamma1=self.config.gamma1)
        return maps.masked_fill(texts.special_mask.unsqueeze(2), 0.0)

    def phrase_map(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """What each region alone would score with the phrase's words, ``[B, R]``."""
        words = texts.word_mask & ~texts.special_mask
        return region_scores(images.regions, texts.words, words, gamma2=self.config.gamma2)

    def _local_scores(self, regions: Tensor, words: Tensor, word_mask: Tensor, aggregation: Aggregation) -> Tensor:
        regions, words = self._comparable(regions, words)
        config = self.config
        return local_similarity(
            regions, words, word_mask, gamma1=config.gamma1, gamma2=config.gamma2, aggregation=aggregation
        )

    def _comparable(self, regions: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        if not self.config.normalise:
            return regions, words
        return F.normalize(regions.float(), dim=2), F.normalize(words.float(), dim=2)

    def _scored_items(self, word_mask: Tensor, special_mask: Tensor) -> Tensor:
        config = self.config
        return counted_items(word_mask, special_mask, include_cls=config.include_cls, include_sep=config.include_sep)

    def _prompt_items(self, texts: TextEmbedding) -> tuple[Tensor, Tensor]:
        """Items ``[M, W, D]`` and which of them a zero-shot score counts, ``[M, W]``."""
        config = self.config
        if config.prompt_length == "characters":
            items, scored = character_slots(texts, self.text_encoder.config.max_tokens)
            scored[:, 0] = config.zero_shot_include_cls
            return items, scored
        cls = config.zero_shot_include_cls
        return texts.words, counted_items(texts.word_mask, texts.special_mask, include_cls=cls, include_sep=False)

    def _unknown_words(self, tokens: TokenBatch) -> Tensor:
        return ((tokens.input_ids == self.unknown_id) & (tokens.word_ids >= 0)).sum(dim=1)


def _without_last_words(word_mask: Tensor, special_mask: Tensor, count: Tensor) -> Tensor:
    """The mask without each report's last ``count [B]`` words; [CLS] and [SEP] stay."""
    words = word_mask & ~special_mask
    from_the_end = words.flip(1).cumsum(1).flip(1)
    return word_mask & (special_mask | (from_the_end > count.unsqueeze(1)))
