"""What methods share that know one vector a film and one a report, and differ in how they contrast the two."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from crossray.alignment.contrastive import cosine_matrix
from crossray.data.batch import PairBatch, TokenBatch
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.methods.base import ImageEmbedding, Method, PairFeatures, Similarity, TextEmbedding
from crossray.methods.places import embed_places, embed_reports, place_cosines
from crossray.methods.positives import pair_groups
from crossray.methods.projections import ProjectionKind, projection


class DualEncoder(Method):
    """Films and reports through a head each; a subclass adds ``losses``.

    Args:
        image_encoder: gives pooled features.
        text_encoder: gives report features.
        head: kind of the two heads.
        hidden: their hidden width; empty takes the width of what comes in.
        width: of the joint space.
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder,
        *,
        head: ProjectionKind,
        hidden: int | None,
        width: int,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.image_projection = projection(head, image_encoder.pooled_channels, hidden, width)
        self.report_projection = projection(head, text_encoder.channels, hidden, width)

    def encode(self, batch: PairBatch) -> PairFeatures:
        """``image [B, D]``, ``report [B, D]`` and groups."""
        return {
            "image": self.image_projection(self.image_encoder(batch.pixels).pooled),
            "report": self.report_projection(self.text_encoder(batch.tokens).report),
            **pair_groups(batch),
        }

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """Films in the joint space, and what the head makes of each place of the trunk's last map."""
        return embed_places(self.image_encoder, self.image_projection, pixels)

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Reports or prompts in the joint space; there are no words there (``W`` is 0)."""
        return embed_reports(self.text_encoder, self.report_projection, tokens)

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Cosines; there is no local score."""
        return Similarity(global_scores=cosine_matrix(images.pooled, texts.report), local_scores=None)

    def phrase_map(self, images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
        """Cosine of each place with the phrase, ``[B, R]``: what a method without local terms can say."""
        return place_cosines(images, texts)
