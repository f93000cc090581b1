"""Where a trunk comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from crossray.data.split_files import read_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store
from crossray.encoders.image import ImageEncoder
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.films import TaskFilms
from crossray.evaluation.localized.trunks import open_trunk
from crossray.inference.joint_model import JointModel
from crossray.settings import build_settings


def films_with_test_side(folder: Path, test: tuple[str, ...]) -> TaskFilms:
    store, rows = Store.open(folder / "store"), np.zeros(0, dtype=np.int64)
    return TaskFilms(store, SplitList("x", (Fold("fixed", (), (), test),)), rows, rows, rows, rows, 0)


def test_the_trunk_of_a_run_is_the_one_that_was_trained(trained: Path) -> None:
    run = trained / "runs" / "fold0"
    opened = open_trunk(str(run), 32)
    films = torch.rand(3, 1, 32, 32)
    encoder = JointModel.load(run).method.image_encoder
    assert isinstance(encoder, ImageEncoder)
    with torch.no_grad():
        assert torch.equal(MapTrunk(opened.encoder).freeze()(films).pooled, encoder(films).pooled)
    assert opened.name == "fold0 (global_local)"
    assert opened.hash != open_trunk(str(trained / "runs" / "fold1"), 32).hash


def test_test_films_that_a_run_was_trained_on_are_refused(trained: Path) -> None:
    fold = read_split(trained / "split.json").fold("0")
    opened = open_trunk(str(trained / "runs" / "fold0"), 32)
    with pytest.raises(ConfigError, match="1 test studies, such as 's30', were on the training or validation side"):
        opened.refuse_seen(films_with_test_side(trained, (*fold.test, "s30")))
    opened.refuse_seen(films_with_test_side(trained, fold.test))
    assert opened.run is not None


def test_a_folder_of_several_runs_is_no_trunk(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds 2 runs \(fold0, fold1\)"):
        open_trunk(str(trained / "runs"), 32)
    with pytest.raises(CheckpointError, match="is no run folder"):
        open_trunk(str(tmp_path), 32)


def test_a_random_trunk_is_always_the_same_and_a_vit_is_told_the_size_of_films() -> None:
    first, again = open_trunk("random:test_vit", 64), open_trunk("random:test_vit", 64)
    assert first.hash == again.hash
    assert first.name == "test_vit (random)"
    assert MapTrunk(first.encoder)(torch.rand(1, 1, 64, 64)).size == (64, 64)


def test_weights_of_a_file_are_taken(tmp_path: Path) -> None:
    random = open_trunk("random:test_resnet", 64)
    torch.save({name: value + 1 for name, value in random.encoder.trunk.state_dict().items()}, tmp_path / "w.pth")
    loaded = open_trunk("timm:test_resnet", 64, weights=str(tmp_path / "w.pth"))
    assert loaded.name == "test_resnet (w.pth)"
    weights = zip(loaded.encoder.parameters(), random.encoder.parameters(), strict=True)
    assert all(torch.equal(new, old + 1) for new, old in weights)


def test_a_file_alone_is_a_trunk_of_the_architecture_that_its_tensors_tell(tmp_path: Path) -> None:
    random = open_trunk("random:resnet18", 64)
    tensors = {f"gloria.img_encoder.model.{name}": value for name, value in random.encoder.trunk.state_dict().items()}
    torch.save({"state_dict": tensors | {"gloria.text_encoder.x": torch.zeros(2)}}, tmp_path / "gloria.ckpt")
    loaded = open_trunk(str(tmp_path / "gloria.ckpt"), 64)
    assert loaded.name == "resnet18 (gloria.ckpt)"
    weights = zip(loaded.encoder.parameters(), random.encoder.parameters(), strict=True)
    assert all(torch.equal(new, old) for new, old in weights)


@pytest.fixture(scope="module")
def vit_run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT trained at 32 pixels."""
    from crossray.training.pretrain import pretrain
    from crossray.training.recipe import Recipe

    recipe = {
        "data": {"store": str(trained / "store"), "split": str(trained / "split.json"), "fold": "0"},
        "image": {"size": 32},
        "image_encoder": {"name": "test_vit", "pretrained": "none", "trunk_options": {"img_size": 32}},
        "text_encoder": {"layers": 1, "width": 32, "vocabulary_size": 200, "max_tokens": 40},
        "method": {"name": "convirt"},
        "training": {"epochs": 1, "batch_size": 16},
        "runtime": {"progress": False, "tensorboard": False},
    }
    run = tmp_path_factory.mktemp("runs") / "vit"
    pretrain(build_settings(Recipe, recipe), run)
    return run


def test_a_runs_vit_takes_films_of_another_size(vit_run: Path) -> None:
    own = JointModel.load(vit_run).method.image_encoder
    assert isinstance(own, ImageEncoder)
    larger = open_trunk(str(vit_run), 64).encoder
    table: torch.Tensor = own.trunk.pos_embed  # type: ignore[assignment]
    assert torch.equal(larger.trunk.pos_embed, resample_abs_pos_embed(table, [4, 4]))  # type: ignore[arg-type]
    films = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert MapTrunk(larger)(torch.rand(1, 1, 64, 64)).pooled.shape == (1, 64)
        same = open_trunk(str(vit_run), 32).encoder
        assert torch.equal(MapTrunk(same).freeze()(films).pooled, own(films).pooled)
    weights = str(vit_run / "checkpoints" / "best.safetensors")
    of_file = open_trunk("timm:test_vit", 64, weights=weights).encoder
    assert torch.equal(of_file.trunk.pos_embed, larger.trunk.pos_embed)  # type: ignore[arg-type]
