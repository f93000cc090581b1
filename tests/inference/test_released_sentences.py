"""Released joint checkpoints that align sentences: PRIOR's and LoVT's tensors give what those models give."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import crossray
from crossray.data.study import Span
from crossray.data.text import SelectedText
from crossray.errors import CheckpointError, ConfigError
from crossray.inference.joint_model import JointModel
from crossray.inference.model import Model
from crossray.inference.released.layout import Layout, ReleasedFile
from crossray.inference.released.lovt import LOVT
from crossray.inference.released.prior import PRIOR
from crossray.methods.build import build_method
from tests.inference.released_models import (
    FILMS,
    FULL,
    Sizes,
    last_map,
    lovt,
    lovt_tensors,
    moved,
    normalised,
    prior,
    prior_tensors,
    saved,
)

VOCABULARY, SMALL = "minilm", Sizes()
PHRASE = "Small right pleural effusion."
REPORTS = [("The heart is normal.", "No effusion, no pneumothorax.", "Bones are intact."), (PHRASE,)]
Both = tuple[Any, Model, Path]


def selected(sentences: tuple[str, ...]) -> SelectedText:
    ends = np.cumsum([len(sentence) + 1 for sentence in sentences])
    spans = tuple(Span(int(e) - len(s) - 1, int(e) - 1) for s, e in zip(sentences, ends, strict=True))
    return SelectedText(" ".join(sentences), spans)


def by_sentence(joint: JointModel, language: Any, sentences: tuple[str, ...]) -> list[Tensor]:
    """The language model's states of each sentence's pieces, each sentence tokenised alone, one report read whole."""
    pieces = [joint.tokenizer.encode([sentence])[0].input_ids for sentence in sentences]
    inner = [torch.from_numpy(own[1:-1]).long() for own in pieces]
    ids = torch.cat([torch.tensor(pieces[0][:1]).long(), *inner, torch.tensor(pieces[0][-1:]).long()])
    states = language(ids.unsqueeze(0)).last_hidden_state[0, 1:-1]
    return list(states.split([len(own) for own in inner]))


def made(build: Callable[[Sizes], nn.Module], tensors: Callable[[Any], dict[str, Tensor]], path: Path) -> Both:
    torch.manual_seed(0)
    oracle = moved(build(SMALL))
    file = saved(tensors(oracle), path)
    return oracle, crossray.load(file, vocabulary=VOCABULARY), file


@pytest.fixture(scope="module")
def of_prior(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return made(prior, prior_tensors, tmp_path_factory.mktemp("released") / "total_prior.ckpt")


@pytest.fixture(scope="module")
def of_lovt(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return made(lovt, lovt_tensors, tmp_path_factory.mktemp("released") / "lovt.ckpt")


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def prior_films(oracle: Any) -> tuple[Tensor, Tensor]:
    """Pooled and local vectors; what it calls regions is the map's memory read as rows."""
    image = oracle["image_encoder"]
    found = last_map(dict(image["encoder"].named_children()), normalised())
    pooled = image["atten_pool"](found.flatten(2).transpose(1, 2))
    local = found.view(len(found), -1, found.shape[1])
    return oracle["global_image_projection"](pooled), oracle["local_image_projection"](local)


def prior_sentences(oracle: Any, joint: JointModel, sentences: tuple[str, ...]) -> Tensor:
    states = by_sentence(joint, oracle["text_encoder"]["encoder"], sentences)
    means = torch.stack([oracle["local_text_projection"](own).mean(dim=0) for own in states])
    bank = oracle["sentence_bank"]["embed"].weight
    mixed: Tensor = (means @ bank.T / 0.9).softmax(dim=1) @ bank  # gumbel_softmax without its noise
    return mixed


@torch.no_grad()
def test_prior_gives_the_vectors_of_the_published_code(of_prior: Both) -> None:
    oracle, model, _ = of_prior
    pooled, local = prior_films(oracle)
    images = model.joint.embed_images(FILMS)
    assert_close(images.pooled, pooled)
    assert_close(images.regions, local)
    assert (images.grid, model.prepared_size, model.method) == ((7, 7), 224, "prior")
    texts = model.joint.embed_texts([selected(report) for report in REPORTS])
    for row, report in enumerate(REPORTS):
        sentences = prior_sentences(oracle, model.joint, report)
        assert_close(texts.words[row, : len(report)], sentences)
        assert_close(texts.report[row], oracle["global_text_attention"](sentences.unsqueeze(0))[0])
    assert texts.word_mask.tolist() == [[True] * 3, [True, False, False]]
    again = model.joint.embed_texts([selected(report) for report in REPORTS])
    assert torch.equal(texts.report, again.report)


@torch.no_grad()
def test_priors_regions_and_sentences_weigh_each_other_as_published(of_prior: Both) -> None:
    oracle, model, _ = of_prior
    pooled, local = prior_films(oracle)
    own = oracle["local_cross_attention"]
    (sentence,) = prior_sentences(oracle, model.joint, (PHRASE,))
    scale = SMALL.width**-0.5
    to_regions = torch.sigmoid(scale * own["key1"](local) @ own["query2"](sentence))
    to_sentence = torch.sigmoid(scale * own["query1"](local) @ own["key2"](sentence))
    images, texts = model.joint.embed_images(FILMS), model.joint.embed_texts([PHRASE])
    scores = model.joint.similarity(images, texts, "zero_shot")
    assert scores.local_scores is not None
    assert_close(scores.local_scores[:, 0], (to_regions.mean(dim=1) + to_sentence.mean(dim=1)) / 2)
    assert_close(model.joint.phrase_map(images, [PHRASE, PHRASE], [0, 1]).flatten(1), to_regions)
    method: Any = model.joint.method
    chosen = (oracle.logit_scale.exp() * F.cosine_similarity(pooled, texts.report)).unsqueeze(1)
    assert float(method.log_scale) == pytest.approx(4.7)
    assert float(method.local.log_scale) == pytest.approx(4.1)
    assert_close(method.log_scale.exp() * scores.global_scores, chosen)


@torch.no_grad()
def test_priors_generators_come_along(of_prior: Both) -> None:
    oracle, model, _ = of_prior
    method: Any = model.joint.method
    regions = torch.randn(2, 49, SMALL.width)
    queries = oracle.prototype_queries.expand(2, -1, -1)
    said = oracle["sentence_decoder"](inputs_embeds=queries, encoder_hidden_states=regions).last_hidden_state
    assert_close(method.generation.decoder(regions), said)
    maps, contexts = torch.randn(2, SMALL.width, 7, 7), torch.randn(2, SMALL.width, 7, 7)
    x = torch.cat([maps, contexts], dim=1)
    for block in oracle["image_decoder"]["blocks"]:
        x = block["conv2"](block["conv1"](F.interpolate(x, scale_factor=2, mode="nearest")))
    assert_close(method.image_decoder(maps, contexts, (224, 224)), oracle["image_decoder"]["output_head"](x))
    assert_close(method.local.predictor(regions), oracle["predictor"](regions))
    assert method.stage == "reconstruct"


def lovt_films(oracle: Any) -> tuple[Tensor, Tensor]:
    own = oracle["model_a"]
    found = last_map(own["encoder"]["feature_extractor"]["backbone_layers"], normalised().expand(-1, 3, -1, -1))
    places = found.flatten(2).transpose(1, 2)
    pool = own["encoder"]["global_aggregator"]["attention"]
    pooled, _ = pool(places.mean(dim=1, keepdim=True), places, places)
    return own["project_global"](pooled.squeeze(1)), own["project_local"](places)


def lovt_sentences(oracle: Any, joint: JointModel, sentences: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    own = oracle["model_b"]
    states = by_sentence(joint, own["encoder"]["language_model"], sentences)
    rows = torch.stack([states_of.amax(dim=0) for states_of in states]).unsqueeze(0)
    pool = own["encoder"]["global_aggregator"]["attention"]
    pooled, _ = pool(rows.mean(dim=1, keepdim=True), rows, rows)
    return own["project_global"](pooled.squeeze(1))[0], own["project_local"](rows)[0]


@torch.no_grad()
def test_lovt_gives_the_vectors_of_the_published_code(of_lovt: Both) -> None:
    oracle, model, _ = of_lovt
    pooled, local = lovt_films(oracle)
    images = model.joint.embed_images(FILMS)
    assert_close(images.pooled, pooled)
    assert_close(images.regions, local)
    assert (images.grid, model.prepared_size, model.method) == ((7, 7), 224, "lovt")
    texts = model.joint.embed_texts([selected(report) for report in REPORTS])
    for row, report in enumerate(REPORTS):  # the second has the vector that it has alone
        whole, sentences = lovt_sentences(oracle, model.joint, report)
        assert_close(texts.report[row], whole)
        assert_close(texts.words[row, : len(report)], sentences)


@torch.no_grad()
def test_lovts_sentences_and_regions_see_each_other_as_published(of_lovt: Both) -> None:
    oracle, model, _ = of_lovt
    _, local = lovt_films(oracle)
    _, sentences = lovt_sentences(oracle, model.joint, (PHRASE,))
    own = oracle["ll_attention"]
    weights = (own["key_projection"](local) @ own["key_projection"](sentences[0]) / SMALL.embedding**0.5).softmax(dim=1)
    images, texts = model.joint.embed_images(FILMS), model.joint.embed_texts([PHRASE])
    assert_close(model.joint.phrase_map(images, [PHRASE, PHRASE], [0, 1]).flatten(1), weights)
    seen = own["output_projection"](weights.unsqueeze(1) @ own["value_projection"](local)).squeeze(1)
    method: Any = model.joint.method
    mask = torch.ones(2, 1, dtype=torch.bool)
    contexts = method.alignment(images.regions, texts.words.expand(2, -1, -1), mask)
    assert_close(contexts.of_sentences[:, 0], own["norm"](seen))


@pytest.mark.parametrize("which", ["of_prior", "of_lovt"])
def test_a_released_model_is_used_like_a_run(which: str, request: pytest.FixtureRequest) -> None:
    _, model, _ = request.getfixturevalue(which)
    films = [FILMS[0], np.tile(FILMS[1], (2, 1))]
    images, texts = model.embed_images(films), model.embed_texts([PHRASE, "Clear lungs."])
    assert (images.shape, texts.shape) == ((2, 64), (2, 64))
    np.testing.assert_allclose(model.similarity(films, [PHRASE, "Clear lungs."]), images @ texts.T, atol=1e-5)
    scores = model.classify(films, {"Effusion": [PHRASE]})
    np.testing.assert_allclose(scores["Effusion"], images @ texts[0], atol=1e-5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert model.ground(films[1], PHRASE).shape == (448, 224)
    assert [str(own.message).split(":")[0] for own in told] == (
        ["this model's regions are no places"] if which == "of_prior" else []
    )


# Numbers of parameters below a name: `prior` spec 2.8, `lovt` spec 2.5, counted there in the authors' own modules.
PRIOR_COUNTS = {
    "image_encoder.encoder": 23_501_760,
    "image_encoder.atten_pool": 16_887_808,
    "global_image_projection": 1_573_632,
    "local_image_projection": 1_573_632,
    "local_text_projection": 590_592,
    "global_text_attention": 2_362_368,
    "local_cross_attention": 3_543_552,
    "predictor": 590_976,
    "sentence_bank": 393_216,
    "prototype_queries": 12_288,
    "image_decoder": 21_219_313,
    "sentence_decoder": 98_279_424,
}
LOVT_COUNTS = {
    "model_a.encoder.feature_extractor": 23_508_032,
    "model_a.encoder.global_aggregator": 16_785_408,
    "model_b.encoder.global_aggregator": 2_362_368,
    "model_a.project_local": 5_249_536,
    "model_a.project_global": 5_249_536,
    "model_b.project_local": 2_628_096,
    "model_b.project_global": 2_628_096,
    "ll_attention": 788_992,
    "model_b.encoder.language_model": 108_310_272,
}


@pytest.mark.parametrize(
    ("layout", "build", "tensors", "counts"),
    [(PRIOR, prior, prior_tensors, PRIOR_COUNTS), (LOVT, lovt, lovt_tensors, LOVT_COUNTS)],
    ids=["PRIOR", "LoVT"],
)
def test_every_tensor_of_the_full_size_has_its_place(
    layout: Layout,
    build: Callable[[Sizes], nn.Module],
    tensors: Callable[[Any], dict[str, Tensor]],
    counts: dict[str, int],
) -> None:
    with torch.device("meta"):
        published = build(FULL)
        released = ReleasedFile(layout.title, Path("full.ckpt"), tensors(published))
        parts = layout.parts(released, "resnet50")
        tokenizer: Any = SimpleNamespace(vocabulary_size=FULL.tokens)
        own = build_method(parts.image, parts.text, parts.method, tokenizer, initial_weights=False).state_dict()
    below = dict.fromkeys(counts, 0)
    for name, parameter in published.named_parameters():
        for stem in below:
            below[stem] += parameter.numel() if name.startswith(stem) else 0
    assert below == counts
    found = layout.tensors_for(own, released)
    assert [name for name, value in found.items() if value.shape != own[name].shape] == []
    counters = {"stage_number", "bank.steps", "bank.remembered", "bank.remembered_count"}
    assert own.keys() - found.keys() == (counters if layout is PRIOR else set())


class Hyperparameters:
    """What Lightning saves beside the tensors."""


@pytest.mark.parametrize("which", ["of_prior", "of_lovt"])
def test_what_does_not_fit_is_refused_by_its_published_name(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    _, _, file = request.getfixturevalue(which)
    whole = torch.load(file, weights_only=True)["state_dict"]
    title = {"of_prior": "PRIOR", "of_lovt": "LoVT"}[which]
    lost = {"of_prior": "local_cross_attention.key2.bias", "of_lovt": "ll_attention.norm.running_mean"}[which]
    missing = {name: value for name, value in whole.items() if name != lost}
    with pytest.raises(CheckpointError, match=rf"lacks 1 tensors of {title}'s joint model: '{lost}'.*whole model"):
        crossray.load(saved(missing, tmp_path / "a.ckpt"), vocabulary=VOCABULARY)
    more = whole | {"queue": torch.zeros(3), "momentum": torch.zeros(())}
    with pytest.raises(CheckpointError, match=rf"has 2 tensors that {title} has not: 'queue', 'momentum'.*save the"):
        crossray.load(saved(more, tmp_path / "b.ckpt"), vocabulary=VOCABULARY)
    with pytest.raises(CheckpointError, match=rf"'{lost}' has shape \[3\], \[64\] is needed"):
        crossray.load(saved(whole | {lost: torch.zeros(3)}, tmp_path / "c.ckpt"), vocabulary=VOCABULARY)
    torch.save({"state_dict": whole, "hyper_parameters": Hyperparameters()}, tmp_path / "d.ckpt")
    with pytest.raises(ConfigError, match=r"d\.ckpt.*not a readable weight file.*must be saved again"):
        crossray.load(tmp_path / "d.ckpt", vocabulary=VOCABULARY)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sentence_bank.embed.weight", torch.zeros(3), r"'sentence_bank.embed.weight' has shape \[3\], 2 dimensions"),
        ("prototype_queries", torch.zeros(1, 0, 64), r"'prototype_queries' has shape \[1, 0, 64\]"),
        (
            "sentence_decoder.encoder.layer.1.crossattention.self.key.weight",
            torch.zeros(()),
            r"layer\.1\.crossattention\.self\.key\.weight' has shape \[\], \[64, 64\] is needed",
        ),
        ("sentence_bank.embed.weight", torch.zeros(20, 6), "sizes that make no PRIOR: slot_heads Input should be"),
        (
            "sentence_bank.embed.weight",
            torch.zeros(()).expand(10**9, 64),
            "does not hold the 64000000000 numbers of 'sentence_bank.embed.weight'",
        ),
    ],
)
def test_sizes_that_make_no_model_are_refused(
    of_prior: Both, name: str, value: Tensor, message: str, tmp_path: Path
) -> None:
    whole = torch.load(of_prior[2], weights_only=True)["state_dict"]
    with pytest.raises(CheckpointError, match=message):
        crossray.load(saved(whole | {name: value}, tmp_path / "other.ckpt"), vocabulary=VOCABULARY)


def test_a_file_whose_names_are_numbers_is_no_state_dict(tmp_path: Path) -> None:
    torch.save({0: torch.zeros(1)}, tmp_path / "numbers.pth")
    with pytest.raises(ConfigError, match=r"numbers\.pth.*holds no state dict"):
        crossray.load(tmp_path / "numbers.pth", vocabulary=VOCABULARY)
