"""Methods and batches as the rows ask for them: small encoders with random weights, reports of some 34 words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from benchmarks.speed.harness import Options
from pydantic import TypeAdapter
from torch import Tensor, nn

from crossray.data.batch import PairBatch
from crossray.data.sentences import split_sentences
from crossray.data.text import SelectedText
from crossray.encoders.features import ImageFeatures, TextFeatures
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.encoders.tokenizer import ReportTokenizer
from crossray.methods.base import Method, SingleProcess
from crossray.methods.build import MethodConfig, build_method
from crossray.training.config import OptimizerConfig
from crossray.training.optimizers import build_optimizer

SENTENCES = (
    "The heart is mildly enlarged.",
    "No pleural effusion or pneumothorax is seen.",
    "There is left lower lobe atelectasis.",
    "The lungs are clear without focal consolidation.",
    "Mild pulmonary edema, increased since the prior examination.",
    "Small right pleural effusion with overlying opacity.",
    "Right upper lobe consolidation suggests pneumonia.",
    "No acute cardiopulmonary abnormality.",
    "The mediastinal contours are within normal limits.",
    "Degenerative changes of the thoracic spine.",
)

#: Of each name in the table: the method's configuration and what it needs of the text encoder.
METHODS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "convirt": ({"name": "convirt"}, {}),
    "clip": ({"name": "clip"}, {}),
    "siglip": ({"name": "siglip"}, {}),
    "global_local": ({"name": "global_local"}, {}),
    "gloria": ({"name": "global_local", "preset": "reference"}, {"last_layers": 4, "report_pooling": "gloria_mean"}),
    "joimternet": ({"name": "joimternet"}, {"report_pooling": "cls"}),
    "lovt": ({"name": "lovt"}, {"sentence_pooling": "max"}),
    "mgca": ({"name": "mgca"}, {"class_attention": True}),
    "prior": ({"name": "prior"}, {}),
}


def reports(count: int, seed: int = 0) -> list[SelectedText]:
    """Three to nine sentences each, some 34 words in the mean."""
    draws = np.random.default_rng(seed)
    texts = [" ".join(draws.choice(SENTENCES, size=draws.integers(3, 10), replace=False)) for _ in range(count)]
    return [SelectedText(text, tuple(split_sentences(text))) for text in texts]


def tokenizer() -> ReportTokenizer:
    return ReportTokenizer.learn(SENTENCES * 2, 1024, max_tokens=97)


def batch(pairs: int, size: int, seed: int = 0) -> PairBatch:
    generator = torch.Generator().manual_seed(seed)
    reader = tokenizer()
    return PairBatch(
        pixels=2 * torch.rand(pairs, 1, size, size, generator=generator) - 1,
        tokens=reader.collate(reader.encode(reports(pairs, seed)), None),
        study_index=torch.arange(pairs),
        text_group=torch.arange(pairs),
        labels=torch.zeros(pairs, 1),
    )


def method(name: str, options: Options, *, trunk: str = "resnet18", text: dict[str, object] | None = None) -> Method:
    """A method of :data:`METHODS` in training mode, BERT of 4 × 256 unless ``text`` says otherwise."""
    own, of_text = METHODS[name]
    sizes = text or options.pick({"layers": 4, "width": 256, "heads": 4}, {"layers": 4, "width": 32, "heads": 2})
    image = ImageEncoderConfig(name=options.pick(trunk, "test_resnet"), pretrained="none")
    config: MethodConfig = TypeAdapter(MethodConfig).validate_python(own)
    torch.manual_seed(0)
    made = build_method(image, TextEncoderConfig.model_validate({**sizes, **of_text}), config, tokenizer())
    return made.train()


@dataclass(frozen=True)
class Steps:
    """The two steps that are compared, on one batch; the weights of the method are those of both."""

    full: Callable[[], object]
    encoders: Callable[[], object]


def steps(model: Method, pairs: PairBatch) -> Steps:
    """The method's whole step, and one of its encoders alone: their outputs' means as the loss, AdamW in both."""
    optimizers = {
        part: build_optimizer(module, OptimizerConfig(name="adamw"))
        for part, module in (("full", model), ("encoders", nn.ModuleList([model.image_encoder, model.text_encoder])))
    }
    reads_places = model.name == "prior"

    def full() -> None:
        model.before_step(0)
        optimizers["full"].zero_grad(set_to_none=True)
        model.losses(model.encode(pairs), SingleProcess()).total.backward()  # type: ignore[no-untyped-call]
        optimizers["full"].step()
        model.after_step()

    def encoders() -> None:
        optimizers["encoders"].zero_grad(set_to_none=True)
        look = model.image_encoder.places if reads_places else model.image_encoder
        loss = _mean_of(look(pairs.pixels)) + _mean_of(model.text_encoder(pairs.tokens))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers["encoders"].step()

    return Steps(full, encoders)


def _mean_of(features: ImageFeatures | TextFeatures) -> Tensor:
    """Of every output that carries gradient, so that nothing of the encoder's backward pass is left out."""
    values = [getattr(features, field.name) for field in fields(features)]
    return torch.stack([v.mean() for v in values if isinstance(v, Tensor) and v.requires_grad]).sum()
