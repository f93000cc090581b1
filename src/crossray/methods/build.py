"""From configuration to a method. A new method is one more member of the union and one more case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.encoders.text import TextEncoder, TextEncoderConfig
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.methods.base import Method
from crossray.methods.clip import Clip, ClipConfig
from crossray.methods.convirt import ConVirt, ConVirtConfig
from crossray.methods.global_local import GlobalLocal, GlobalLocalConfig
from crossray.methods.joimternet.config import JoImTeRNetConfig
from crossray.methods.joimternet.method import JoImTeRNet
from crossray.methods.lovt.config import LovtConfig
from crossray.methods.lovt.method import Lovt
from crossray.methods.mgca.config import MgcaConfig
from crossray.methods.mgca.method import Mgca
from crossray.methods.prior.config import PriorConfig
from crossray.methods.prior.method import Prior
from crossray.methods.siglip import Siglip, SiglipConfig
from crossray.methods.simclr import SimClr, SimClrConfig
from crossray.methods.supervised import Supervised, SupervisedConfig

MethodConfig = Annotated[
    ClipConfig
    | ConVirtConfig
    | GlobalLocalConfig
    | JoImTeRNetConfig
    | LovtConfig
    | MgcaConfig
    | PriorConfig
    | SiglipConfig
    | SimClrConfig
    | SupervisedConfig,
    Field(discriminator="name"),
]


def build_method(
    image: ImageEncoderConfig,
    text: TextEncoderConfig,
    method: MethodConfig,
    tokenizer: ReportTokenizer,
    *,
    initial_weights: bool = True,
    label_names: Sequence[str] | None = None,
) -> Method:
    """The method with its encoders.

    Args:
        image: the image encoder.
        text: the text encoder; a method that reads no reports has none.
        method: the objective.
        tokenizer: gives the size of the vocabulary.
        initial_weights: load the encoders' pretrained weights; off where a checkpoint fills them anyway.
        label_names: names of the store's labels, for methods that learn from them; not needed for inference.

    Raises:
        ConfigError: an encoder cannot be made, or the parts do not fit.
    """
    image_encoder = ImageEncoder(image, initial_weights=initial_weights)
    if isinstance(method, SimClrConfig):
        return SimClr(image_encoder, method)
    if isinstance(method, SupervisedConfig):
        return Supervised(image_encoder, method, label_names=label_names)
    text_encoder = TextEncoder(text, tokenizer.vocabulary_size, initial_weights=initial_weights)
    match method:
        case ClipConfig():
            return Clip(image_encoder, text_encoder, method)
        case ConVirtConfig():
            return ConVirt(image_encoder, text_encoder, method)
        case GlobalLocalConfig():
            return GlobalLocal(image_encoder, text_encoder, method, unknown_id=tokenizer.unknown_id)
        case LovtConfig():
            return Lovt(image_encoder, text_encoder, method)
        case JoImTeRNetConfig():
            return JoImTeRNet(image_encoder, text_encoder, method, tokenizer=tokenizer)
        case MgcaConfig():
            return Mgca(image_encoder, text_encoder, method)
        case PriorConfig():
            return Prior(image_encoder, text_encoder, method)
        case SiglipConfig():
            return Siglip(image_encoder, text_encoder, method)
