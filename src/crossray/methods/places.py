"""What methods without local terms share: embeddings of wholes, and a map of places made from a global head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from crossray.data.batch import TokenBatch
from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.methods.base import ImageEmbedding, TextEmbedding


def embed_places(encoder: ImageEncoder, head: nn.Module, pixels: Tensor) -> ImageEmbedding:
    """Films through a global head; as regions, each place of the trunk's last map through the same head."""
    features = encoder.places(pixels)
    count, places = features.regions.shape[:2]
    return ImageEmbedding(
        pooled=head(features.pooled),
        regions=head(features.regions.flatten(0, 1)).view(count, places, -1),
        grid=features.grid,
    )


def embed_reports(encoder: TextEncoder, head: nn.Module, tokens: TokenBatch) -> TextEmbedding:
    """Reports through a global head; there are no items (``W`` is 0)."""
    features = encoder(tokens)
    report: Tensor = head(features.report)
    return TextEmbedding(
        report=report,
        words=report.new_zeros(report.shape[0], 0, report.shape[1]),
        word_mask=features.word_mask[:, :0],
        special_mask=features.special_mask[:, :0],
    )


def place_cosines(images: ImageEmbedding, texts: TextEmbedding) -> Tensor:
    """Cosine of each region of film i with report i: ``[B, R]``."""
    cosines: Tensor = F.cosine_similarity(images.regions, texts.report.unsqueeze(1), dim=2)
    return cosines
