from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch.nn import functional as F

from crossray.data.augment import ImageInputConfig, evaluation_view
from crossray.data.study import Span
from crossray.data.text import SelectedText, TextConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.errors import CheckpointError, ConfigError, CrossRayError
from crossray.inference.joint_model import JointModel
from crossray.methods.build import MethodConfig
from crossray.methods.convirt import ConVirtConfig
from crossray.methods.global_local import GlobalLocalConfig
from crossray.tensor_file import write_tensors

from ..methods.test_methods import CONFIGS, IMAGE_CONFIGS, name_of
from ..small_model import IMAGE, TEXT, reports, small_method, small_tokenizer

INPUT = ImageInputConfig(size=64)

READ_REPORTS = [config for config in CONFIGS if config.preset == "clean" and config not in IMAGE_CONFIGS]


def write_run(folder: Path, method: MethodConfig, text: TextEncoderConfig = TEXT) -> Path:
    """A run folder as training leaves it."""
    built = small_method(method, text=text)
    sections = {
        "image": INPUT,
        "text": TextConfig(),
        "image_encoder": IMAGE,
        "text_encoder": text,
        "method": method,
    }
    content = {name: section.model_dump(mode="json") for name, section in sections.items()}
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({**content, "training": {"epochs": 3}}))
    (folder / "manifest.json").write_text(json.dumps({"kind": "run", "format_version": 1}))
    small_tokenizer().save(folder / "tokenizer")
    write_tensors(folder / "checkpoints" / "best.safetensors", built.state_dict(), {"kind": "crossray weights"})
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", GlobalLocalConfig())


def films(count: int = 5, size: int = 72) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8)


def test_a_loaded_model_is_the_one_that_was_saved(run: Path) -> None:
    loaded = JointModel.load(run)
    original = small_method(GlobalLocalConfig()).eval()
    with torch.no_grad():
        wanted = original.embed_images(evaluation_view(torch.from_numpy(films()), INPUT))
    got = loaded.embed_images(films())
    torch.testing.assert_close(got.pooled, wanted.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.regions, wanted.regions, atol=1e-5, rtol=1e-5)
    assert got.grid == wanted.grid == (4, 4)
    assert not loaded.method.training


def test_pieces_do_not_change_a_result_and_progress_is_told(run: Path) -> None:
    model, told = JointModel.load(run), list[tuple[int, int]]()
    whole = model.embed_images(films(), batch_size=5)
    pieces = model.embed_images(films(), batch_size=2, progress=lambda done, of: told.append((done, of)))
    torch.testing.assert_close(pieces.regions, whole.regions, atol=1e-5, rtol=1e-5)
    assert told == [(2, 5), (4, 5), (5, 5)]
    texts = [*reports(5), ""]
    one, many = model.embed_texts(texts, batch_size=1), model.embed_texts(texts, batch_size=6)
    torch.testing.assert_close(one.words, many.words, atol=1e-5, rtol=1e-5)
    assert torch.equal(one.word_mask, many.word_mask)
    assert torch.equal(one.special_mask, many.special_mask)
    assert torch.equal(model.embed_images(films(), batch_size=5).pooled, whole.pooled), "the same call, the same bits"


def test_films_are_compared_in_pieces_without_changing_a_score(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = JointModel.load(run)
    images, texts = model.embed_images(films()), model.embed_texts(reports(4))
    whole = model.similarity(images, texts, purpose="zero_shot")
    monkeypatch.setattr("crossray.inference.joint_model._FILMS_COMPARED_AT_ONCE", 2)
    pieces = model.similarity(images, texts, purpose="zero_shot")
    assert whole.local_scores is not None
    assert pieces.local_scores is not None
    assert pieces.local_scores.shape == (5, 4)
    torch.testing.assert_close(pieces.local_scores, whole.local_scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pieces.global_scores, whole.global_scores, atol=1e-5, rtol=1e-5)


def test_image_features_are_those_of_the_trunk(run: Path) -> None:
    features = JointModel.load(run).image_features(films(), batch_size=3)
    assert features.shape == (5, 96)
    assert features.dtype == torch.float32


@pytest.mark.parametrize("merge_words", [True, False])
def test_each_word_that_is_read_has_a_map(tmp_path: Path, merge_words: bool) -> None:
    text = TEXT.model_copy(update={"merge_words": merge_words})
    model = JointModel.load(write_run(tmp_path / "run", GlobalLocalConfig(), text))
    words, maps = model.word_region_attention(films(1)[0], "Small right effusion, cardiobase.")
    assert words == ("Small", "right", "effusion", "cardiobase")
    assert maps.shape == (4, 4, 4)
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(4))


def test_an_empty_text_has_no_maps(run: Path) -> None:
    words, maps = JointModel.load(run).word_region_attention(films(1)[0], "")
    assert words == ()
    assert maps.shape == (0, 4, 4)


def test_selected_text_and_its_string_embed_alike(run: Path) -> None:
    model, text = JointModel.load(run), "The heart is enlarged."
    selected = SelectedText(text, (Span(0, len(text)),))
    assert torch.equal(model.embed_texts([selected]).report, model.embed_texts([text]).report)


def test_prompts_are_scored_by_the_characters_they_were_given_with(tmp_path: Path) -> None:
    model = JointModel.load(write_run(tmp_path / "run", GlobalLocalConfig(prompt_length="characters")))
    given = ["Effusion.", "effusion", "  Effusion  . , "]  # one word each, to the tokenizer
    texts = model.embed_texts(given, batch_size=2)
    assert texts.characters is not None
    assert texts.characters.tolist() == [9, 8, 16]
    scores = model.similarity(model.embed_images(films()), texts, purpose="zero_shot").local_scores
    assert scores is not None
    assert not torch.allclose(scores[:, 0], scores[:, 1], atol=1e-6)
    assert not torch.allclose(scores[:, 0], scores[:, 2], atol=1e-6)


def test_a_method_without_words_says_so(tmp_path: Path) -> None:
    model = JointModel.load(write_run(tmp_path / "run", ConVirtConfig()))
    assert model.similarity(model.embed_images(films()), model.embed_texts(reports(2))).local_scores is None
    with pytest.raises(ConfigError, match="convirt compares whole films"):
        model.word_region_attention(films(1)[0], "heart")


def test_wrong_films_and_texts_are_explained(run: Path) -> None:
    model = JointModel.load(run)
    wrong_films: list[Any] = [films()[0], films()[:0], films()[:, :10], films().astype(np.float32)]
    for wrong in wrong_films:
        with pytest.raises(ConfigError, match="films must be"):
            model.embed_images(wrong)
    with pytest.raises(ConfigError, match="does not fit"):
        model.embed_images(films(size=32))
    with pytest.raises(ConfigError, match="no text"):
        model.embed_texts([])


def remove(name: str) -> object:
    return lambda run: (run / name).unlink()


def damage(name: str, content: bytes) -> object:
    return lambda run: (run / name).write_bytes(content)


def cut_short(run: Path) -> None:
    file = run / "checkpoints" / "best.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def alter(run: Path) -> None:
    file = run / "checkpoints" / "best.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def change_shape(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["text_encoder"]["width"] = 32
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def drop_section(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["text_encoder"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (remove("config.yaml"), "is not a run folder"),
        (damage("config.yaml", b"method: [1, 2"), "not valid YAML"),
        (drop_section, "lacks the section 'text_encoder'"),
        (remove("manifest.json"), "manifest is missing or damaged"),
        (damage("manifest.json", b'{"format_version": 9}'), "format version 9; this CrossRay reads 1"),
        (remove("tokenizer/tokenizer.json"), "tokenizer cannot be read"),
        (remove("checkpoints/best.safetensors"), "no checkpoint 'best'.*Nothing has been saved"),
        (cut_short, "cut short"),
        (alter, "has been altered"),
        (change_shape, "does not fit the model: .* has shape"),
    ],
)
def test_a_damaged_run_is_explained(run: Path, fault: object, message: str) -> None:
    assert callable(fault)
    fault(run)
    with pytest.raises(CrossRayError, match=message) as caught:
        JointModel.load(run)
    assert caught.value.file is not None


def test_another_checkpoint_is_named_if_it_is_there(run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint 'last'.*There is best"):
        JointModel.load(run, checkpoint="last")
    with pytest.raises(CheckpointError, match="no such run folder"):
        JointModel.load(run / "nowhere")


@pytest.mark.parametrize("method", READ_REPORTS, ids=name_of)
def test_every_method_maps_phrases_of_many_films_in_pieces(
    monkeypatch: pytest.MonkeyPatch, method: MethodConfig
) -> None:
    built = small_method(method)
    model = JointModel(built, small_tokenizer(), INPUT, TextConfig())
    images = model.embed_images(films())
    phrases = ["left effusion", "a large heart", "left effusion", "edema"]
    rows = [4, 0, 1, 4]
    whole = model.phrase_map(images, phrases, rows)
    assert whole.shape == (4, *images.grid)
    monkeypatch.setattr("crossray.inference.joint_model._FILMS_COMPARED_AT_ONCE", 3)
    torch.testing.assert_close(model.phrase_map(images, phrases, rows), whole, atol=1e-5, rtol=1e-5)
    for phrase, row, got in zip(phrases, rows, whole, strict=True):
        alone = model.phrase_map(model.embed_images(films()[row : row + 1]), [phrase], [0])
        torch.testing.assert_close(got, alone[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(whole[0], whole[3]), "two phrases of one film"


def test_a_phrases_map_is_what_each_region_alone_would_score(run: Path) -> None:
    model = JointModel.load(run)
    images, texts = model.embed_images(films(1)), model.embed_texts(["Small right effusion"])
    got = model.phrase_map(images, ["Small right effusion"], [0])
    expected = torch.tensor(
        [
            torch.stack([5.0 * F.cosine_similarity(region, word, dim=0) for word in texts.words[0, 1:4]])
            .exp()
            .sum()
            .log()
            for region in images.regions[0]
        ]
    )
    torch.testing.assert_close(got[0].flatten(), expected, atol=1e-5, rtol=1e-5)


class Mute(torch.nn.Module):
    """A method that says nothing about places."""

    name = "mute"


def test_phrases_without_films_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = JointModel.load(run)
    images = model.embed_images(films(1))
    with pytest.raises(ConfigError, match="2 phrases were given, but films for 1"):
        model.phrase_map(images, ["a", "b"], [0])
    monkeypatch.setattr(model, "method", Mute())
    with pytest.raises(ConfigError, match="mute does not say where"):
        model.phrase_map(images, ["a"], [0])
