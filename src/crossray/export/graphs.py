"""ONNX graphs of both sides, from what the encoders see to vectors of length 1 in the joint space."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.data.augment import ImageInputConfig
from crossray.data.batch import TokenBatch
from crossray.errors import ConfigError
from crossray.export.parity import LARGEST_DIFFERENCE, TEXTS, Parity, difference, noise_films, views
from crossray.inference.joint_model import JointModel
from crossray.methods.base import Method

FILM_FILE, TEXT_FILE = "film.onnx", "text.onnx"
TOKEN_INPUTS = ("input_ids", "attention_mask")
OUTPUT = "joint"

_INSTALL = "Run pip install onnx onnxscript onnxruntime."
_FITTING = "Run pip install --upgrade torch torchvision onnxscript; torch 2.6 needs 'onnxscript<0.3'."
_SHORTEST = 4  # tokens of the longest text of a batch


class FilmGraph(nn.Module):
    """Grey values ``[B, 1, s, s]`` from 0 to 255, resized and cropped, to vectors ``[B, D]`` of length 1."""

    def __init__(self, method: Method, image: ImageInputConfig) -> None:
        super().__init__()
        self.method = method
        self.mean, self.std = image.mean, image.std

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise, embed, bring to length 1."""
        return F.normalize(self.method.embed_images((pixels / 255 - self.mean) / self.std).pooled, dim=1)


class TextGraph(nn.Module):
    """Tokens ``input_ids [B, L]`` int64 and ``attention_mask [B, L]`` bool to vectors ``[B, D]`` of length 1.

    Which word or sentence a token belongs to is not among them: the report vector of most methods does not ask.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed, bring to length 1."""
        nowhere = torch.full_like(input_ids, -1)
        return F.normalize(
            self.method.embed_texts(TokenBatch(input_ids, attention_mask, nowhere, nowhere)).report, dim=1
        )


def write_graphs(model: JointModel, prepared_size: int, out: Path) -> tuple[list[Parity], list[str]]:
    """``film.onnx`` and, where the text side can be traced, ``text.onnx`` with the tokenizer beside it.

    Returns:
        How far what onnxruntime computes is from the run, and what could not be written and why.

    Raises:
        ConfigError: onnx, onnxscript or onnxruntime is not installed, or does not fit the torch that is.
    """
    pixels = views(model.image_config, prepared_size)
    grey = (pixels * model.image_config.std + model.image_config.mean) * 255
    film = FilmGraph(model.method, model.image_config)
    try:
        _export(film, (grey,), ("pixels",), {"pixels": {0: torch.export.Dim("films")}}, out / FILM_FILE)
    except torch.onnx.OnnxExporterError as error:
        pair = f"torch {version('torch')} with onnxscript {version('onnxscript')}"
        raise ConfigError(f"{pair} cannot trace the run's films.", field="--to", remedy=_FITTING) from error
    wanted = F.normalize(model.embed_images(noise_films(prepared_size)).pooled, dim=1)
    found = [difference("onnx films", _run(out / FILM_FILE, {"pixels": grey}), wanted)]
    if not model.method.reads_reports:
        return found, [f"{TEXT_FILE}: {model.method.name} reads no reports"]
    try:
        with _traceable(model.method):
            found.append(_text_graph(model, out))
        if found[-1].difference > LARGEST_DIFFERENCE:
            found.pop()
            raise ValueError("their vectors depend on where words and sentences end")
    except ConfigError:
        raise
    except Exception as error:  # the exporter raises its own kinds, and torch's, for what it cannot trace
        (out / TEXT_FILE).unlink(missing_ok=True)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return found, [f"{TEXT_FILE}: the reports of {model.method.name} cannot be traced ({reason})"]
    model.tokenizer.save(out / "tokenizer")
    return found, []


def _text_graph(model: JointModel, out: Path) -> Parity:
    inputs = _tokens(model, TEXTS[:3])
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", min=_SHORTEST, max=model.tokenizer.max_tokens)}
    _export(
        TextGraph(model.method),
        tuple(inputs.values()),
        TOKEN_INPUTS,
        dict.fromkeys(TOKEN_INPUTS, axes),
        out / TEXT_FILE,
    )
    wanted = F.normalize(model.embed_texts(TEXTS).report, dim=1)
    return difference("onnx texts", _run(out / TEXT_FILE, _tokens(model, TEXTS)), wanted)


def _tokens(model: JointModel, texts: tuple[str, ...]) -> dict[str, Tensor]:
    tokens = model.tokenizer.collate(model.tokenizer.encode(texts))
    return {name: getattr(tokens, name) for name in TOKEN_INPUTS}


@contextmanager
def _traceable(method: Method) -> Iterator[None]:
    """Without grouping by length and without remembered states: both look at the values, a graph must not."""
    encoder: Any = method.text_encoder
    before = encoder.keeps_padding_states, encoder._frozen_states
    encoder.keeps_padding_states, encoder._frozen_states = True, None
    try:
        yield
    finally:
        encoder.keeps_padding_states, encoder._frozen_states = before


def _export(
    graph: nn.Module, inputs: tuple[Tensor, ...], names: tuple[str, ...], axes: dict[str, Any], path: Path
) -> None:
    absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(f"{', '.join(absent)} is not installed.", field="--to", remedy=_INSTALL)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        torch.onnx.export(
            graph.eval(),
            inputs,
            str(path),
            input_names=list(names),
            output_names=[OUTPUT],
            dynamic_shapes=axes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _run(path: Path, inputs: dict[str, Tensor]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
