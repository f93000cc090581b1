"""From configuration to a method. A new method is one more member of the union and one more case."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.encoders.text import TextEncoder, TextEncoderConfig
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.methods.base import Method
from crossray.methods.convirt import ConVirt, ConVirtConfig
from crossray.methods.global_local import GlobalLocal, GlobalLocalConfig
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.joimternet.method import JoImTeRNet
from crossray.methods.lovt.config import LovtConfig
from crossray.methods.lovt.method import Lovt
from crossray.methods.prior.config import PriorConfig
from crossray.methods.prior.method import Prior

MethodConfig = Annotated[
    ConVirtConfig | GlobalLocalConfig | JoImTeRNetConfig | LovtConfig | PriorConfig, Field(discriminator="name")
]


def build_method(
    image: ImageEncoderConfig,
    text: TextEncoderConfig,
    method: MethodConfig,
    tokenizer: ReportTokenizer,
    *,
    initial_weights: bool = True,
) -> Method:
    """The method with its encoders.

    Args:
        image: the image encoder.
        text: the text encoder.
        method: the objective.
        tokenizer: gives the size of the vocabulary.
        initial_weights: load the encoders' pretrained weights; off where a checkpoint fills them anyway.

    Raises:
        ConfigError: an encoder cannot be made, or the parts do not fit.
    """
    image_encoder = ImageEncoder(image, initial_weights=initial_weights)
    text_encoder = TextEncoder(text, tokenizer.vocabulary_size, initial_weights=initial_weights)
    match method:
        case ConVirtConfig():
            return ConVirt(image_encoder, text_encoder, method)
        case GlobalLocalConfig():
            return GlobalLocal(image_encoder, text_encoder, method, unknown_id=tokenizer.unknown_id)
        case LovtConfig():
            return Lovt(image_encoder, text_encoder, method)
        case JoImTeRNetConfig():
            return JoImTeRNet(image_encoder, text_encoder, method, tokenizer=tokenizer)
        case PriorConfig():
            return Prior(image_encoder, text_encoder, method)
