"""Fine-tuning learns, is repeatable, leaves the caller's trunk and random state alone, and masks unknown labels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossray.data.augment import ImageInputConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.errors import ConfigError
from crossray.evaluation import finetune as finetune_module
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.finetune import Classifier, FilmPart, FinetuneConfig, finetune, masked_bce, selection_auc
from crossray.evaluation.metrics import auroc
from crossray.evaluation.models import FloorModel
from crossray.evaluation.tasks import finetune_task
from crossray.settings import build_settings

IMAGE = ImageInputConfig(size=16)
CONFIG = FinetuneConfig(epochs=3, batch_size=16, trunk_learning_rate=1e-2, head_learning_rate=1e-2)


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 5, stride=2)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.norm(self.convolution(pixels)).relu().mean(dim=(2, 3))
        return features


def _films() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Films with a bright left half (label 1) or right half."""
    generator = np.random.default_rng(0)
    labels = (generator.random((160, 1)) < 0.5).astype(np.float64)
    films = generator.integers(0, 60, size=(160, 18, 18))
    films += 60 * (labels[:, :, None] > 0.5)
    return films.astype(np.uint8), labels


FILMS, LABELS = _films()


def _part(start: int, stop: int) -> FilmPart:
    return FilmPart(np.arange(start, stop), LABELS[start:stop])


def _read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    return FILMS[rows]


def _trunk() -> Trunk:
    torch.manual_seed(0)
    return Trunk()


def test_fine_tuning_learns_and_the_same_seed_gives_the_same_scores() -> None:
    lines: list[str] = []
    parts = (_part(0, 96), _part(96, 128), _part(128, 160))
    first = finetune(_trunk(), 4, _read, *parts, IMAGE, CONFIG, lines.append)
    torch.rand(7)
    second = finetune(_trunk(), 4, _read, *parts, IMAGE, CONFIG)
    assert auroc(first.test_scores[:, 0], LABELS[128:, 0])[0] > 0.95
    np.testing.assert_array_equal(first.test_scores, second.test_scores)
    assert len(lines) == len(first.validation_auc) == 3
    assert first.validation_auc[first.best_epoch - 1] == max(first.validation_auc)


def test_the_epoch_is_chosen_by_labels_that_are_frequent_enough() -> None:
    labels = np.zeros((40, 2))
    labels[:20, 0], labels[7, 1] = 1, 1  # the second has one positive
    scores = np.column_stack([labels[:, 0], -labels[:, 1]])
    assert selection_auc(scores, labels, 5) == 1.0
    assert selection_auc(scores, labels, 0) == 0.5
    assert selection_auc(scores[:, 1:], labels[:, 1:], 5) == 0.0, "no label is frequent: all count"


def test_the_callers_trunk_and_random_state_are_left_alone() -> None:
    trunk = _trunk()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    finetune(trunk, 4, _read, _part(0, 32), _part(96, 128), _part(128, 160), IMAGE, CONFIG)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in trunk.state_dict().items())


def test_test_labels_are_not_looked_at() -> None:
    parts = (_part(0, 64), _part(96, 128))
    hidden = FilmPart(np.arange(128, 160), np.full((32, 1), np.nan))
    first = finetune(_trunk(), 4, _read, *parts, hidden, IMAGE, CONFIG)
    second = finetune(_trunk(), 4, _read, *parts, _part(128, 160), IMAGE, CONFIG)
    np.testing.assert_array_equal(first.test_scores, second.test_scores)


def test_unknown_labels_carry_no_loss_and_no_gradient() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.0, 0.5]], requires_grad=True)
    labels = torch.tensor([[1.0, float("nan")], [float("nan"), 0.0]])
    loss = masked_bce(logits, labels)
    expected = (torch.log1p(torch.exp(torch.tensor(-0.3))) + torch.log1p(torch.exp(torch.tensor(0.5)))) / 2
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 1] == gradient[1, 0] == 0
    assert masked_bce(logits, torch.full((2, 2), float("nan"))) == 0


def test_fewer_films_than_a_batch_still_train() -> None:
    result = finetune(_trunk(), 4, _read, _part(0, 9), _part(96, 128), _part(128, 160), IMAGE, CONFIG)
    assert np.isfinite(result.test_scores).all()


def test_a_floor_may_have_a_rate_of_its_own() -> None:
    config = FinetuneConfig(trunk_learning_rate=1e-4, floor_trunk_learning_rate=1e-3)
    assert config.of_start(floor=False) == FinetuneConfig(trunk_learning_rate=1e-4)
    assert config.of_start(floor=True) == FinetuneConfig(trunk_learning_rate=1e-3)
    assert FinetuneConfig().of_start(floor=True) == FinetuneConfig()


def _tuned(name: str, mode: str) -> Arrays:
    """A cell of few films, from a small trunk with random weights."""
    store = SimpleNamespace(pixels=lambda rows: _read(rows).repeat(2, axis=1).repeat(2, axis=2))
    model = FloorModel(ImageEncoderConfig(name=name, pretrained="none"), ImageInputConfig(size=32), store, 8)
    cohort = Cohort("0", _whole_part(0, 16), _whole_part(96, 112), _whole_part(128, 144), ())
    config = build_settings(FinetuneConfig, {"epochs": 1, "batch_size": 8, "trunk": mode})
    return finetune_task(model, store, ImageInputConfig(size=32), cohort, config)


def _whole_part(start: int, stop: int) -> Part:
    rows = np.arange(start, stop)
    names = tuple(map(str, rows))
    return Part(names, names, rows, rows, (), rows, LABELS[start:stop])


@pytest.mark.parametrize(
    ("name", "stages", "still", "learning"),
    [("test_resnet", 2, ("stem", "conv1", "bn1", "layer1", "layer2"), ("layer3", "layer4")),
     ("test_vit", 1, ("patch_embed", "pos_embed", "blocks.0", "blocks.4"), ("blocks.5", "norm"))],
)  # fmt: skip
def test_partial_fine_tuning_moves_the_last_stages_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, stages: int, still: tuple[str, ...], learning: tuple[str, ...]
) -> None:
    made: list[Classifier] = []
    before: dict[str, Tensor] = {}

    class Watched(Classifier):
        def __init__(self, trunk: nn.Module, width: int, labels: int, dropout: float) -> None:
            super().__init__(trunk, width, labels, dropout)
            made.append(self)
            before.update({name: value.clone() for name, value in trunk.state_dict().items()})

    monkeypatch.setattr(finetune_module, "Classifier", Watched)
    _tuned(name, f"partial:{stages}")
    (model,) = made
    after = model.trunk.state_dict()
    moved = {
        tensor.removeprefix("encoder.trunk.") for tensor in after if not torch.equal(after[tensor], before[tensor])
    }
    assert not [tensor for tensor in moved if tensor.startswith(still)]
    for part in learning:
        assert [tensor for tensor in moved if tensor.startswith(part)], part


def test_partial_fine_tuning_of_every_stage_is_fine_tuning() -> None:
    whole, every, part = (_tuned("test_resnet", mode)["scores"] for mode in ("finetune", "partial:5", "partial:1"))
    np.testing.assert_array_equal(whole, every)
    assert not np.allclose(whole, part)
    with pytest.raises(ConfigError, match=r"test_resnet has 5 feature stages; the last 6 cannot learn.*partial:5"):
        _tuned("test_resnet", "partial:6")


@pytest.mark.parametrize("mode", ["frozen", "partial:0", "partial", "half"])
def test_a_trunk_that_does_not_learn_is_no_fine_tuning(mode: str) -> None:
    with pytest.raises(ConfigError, match="trunk"):
        build_settings(FinetuneConfig, {"trunk": mode})


def test_a_whole_trunk_is_written_as_before_so_that_finished_cells_still_stand() -> None:
    assert "trunk" not in FinetuneConfig().model_dump(mode="json")
    assert FinetuneConfig().choices == {}
    part = FinetuneConfig(trunk="partial:2")
    assert part.of_start(floor=True).model_dump(mode="json", exclude={"seed"})["trunk"] == "partial:2"
    assert "seed" not in part.model_dump(exclude={"seed"})
    assert part.choices == {"fine-tuning": "partial:2, only the trunk's last feature stages learn"}
    assert build_settings(FinetuneConfig, part.model_dump(mode="json")) == part
