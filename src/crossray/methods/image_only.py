"""What comparators share that never read a report: they run in the same loop, and have no joint space."""

from __future__ import annotations

from typing import ClassVar, Literal, NoReturn

from torch import Tensor, nn

from crossray.data.batch import TokenBatch
from crossray.encoders.image import ImageEncoder
from crossray.errors import ConfigError
from crossray.methods.base import ImageEmbedding, Method, Similarity, TextEmbedding
from crossray.methods.places import embed_places


class ImageOnly(Method):
    """A trunk trained without reports; a subclass adds ``encode`` and ``losses``."""

    reads_reports: ClassVar[bool] = False

    def __init__(self, image_encoder: ImageEncoder) -> None:
        super().__init__()
        self.image_encoder = image_encoder

    def embed_images(self, pixels: Tensor) -> ImageEmbedding:
        """The trunk's own features, of films and of each place of its last map: there is no joint space."""
        return embed_places(self.image_encoder, nn.Identity(), pixels)

    def embed_texts(self, tokens: TokenBatch) -> TextEmbedding:
        """Refused.

        Raises:
            ConfigError: always.
        """
        self._refuse()

    def similarity(
        self, images: ImageEmbedding, texts: TextEmbedding, *, purpose: Literal["retrieval", "zero_shot"]
    ) -> Similarity:
        """Refused.

        Raises:
            ConfigError: always.
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigError(
            f"'{self.name}' learns from films alone: it has no text encoder, and compares no film with a text.",
            field="method.name",
            remedy="Ask it for image features (probe, fine-tuning), or use a run of a method that reads reports.",
        )
