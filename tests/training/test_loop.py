from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crossray.data.batch import PairBatch
from crossray.errors import ConfigError
from crossray.methods.base import Gather, LossTerms, Method, PairFeatures
from crossray.tensor_file import read_tensors
from crossray.training.config import OptimizerConfig, SelectionConfig, TrainingConfig
from crossray.training.ema import MovingAverage
from crossray.training.step import DivergedError
from tests.training.fakes import FakeMethod, fake_fit, fake_parts, figures_of

QUICK = TrainingConfig(epochs=2, batch_size=8, optimizer=OptimizerConfig(learning_rate=1e-2))


class Countdown:
    """A validator whose figure is best at its third call."""

    names = ("quality",)

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, method: Method, batches: Callable[[], Iterator[PairBatch]]) -> Mapping[str, float]:
        assert not method.training
        assert sum(len(batch) for batch in batches()) == 8
        self.calls += 1
        return {"quality": -abs(self.calls - 3.0)}


def test_training_lowers_the_loss_and_writes_what_inference_needs(tmp_path: Path) -> None:
    summary = fake_fit(tmp_path, QUICK.model_copy(update={"epochs": 15}))
    losses = figures_of(tmp_path, "train")
    assert len(losses) == summary.steps == 60
    assert sum(losses[-4:]) < sum(losses[:4])
    assert summary.outcome == "finished"
    assert summary.best == min(figures_of(tmp_path, "validation"))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "state.safetensors",
    ]
    best, facts = read_tensors(tmp_path / "checkpoints" / "best.safetensors")
    assert best.keys() == FakeMethod().state_dict().keys()
    assert facts["step"] == summary.best_step


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    def final(name: str, seed: int) -> torch.Tensor:
        fake_fit(tmp_path / name, QUICK.model_copy(update={"seed": seed}), fake_parts(dropout=0.2))
        return read_tensors(tmp_path / name / "checkpoints" / "last.safetensors")[0]["head.weight"]

    assert torch.equal(final("a", 1), final("b", 1))
    assert not torch.equal(final("c", 2), final("a2", 1))


def test_the_named_metric_selects_and_stops_early(tmp_path: Path) -> None:
    selection = SelectionConfig(metric="quality", goal="max", patience=2)
    config = QUICK.model_copy(update={"epochs": 20, "selection": selection})
    summary = fake_fit(tmp_path, config, validator=Countdown())
    assert (summary.outcome, summary.epochs, summary.best, summary.best_step) == ("stopped early", 5, 0.0, 12)
    assert read_tensors(tmp_path / "checkpoints" / "best.safetensors")[1]["step"] == 12
    assert read_tensors(tmp_path / "checkpoints" / "last.safetensors")[1]["step"] == 20


def test_a_metric_that_no_one_computes_is_refused_with_those_there_are(tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"selection": SelectionConfig(metric="recall")})
    with pytest.raises(ConfigError, match=r"'recall' is not computed.*loss, quality"):
        fake_fit(tmp_path, config, validator=Countdown())


class FilmsAlone(FakeMethod):
    """A comparator that reads no report."""

    name = "films_alone"
    reads_reports = False


def test_a_method_that_reads_no_reports_is_not_asked_to_retrieve_them(tmp_path: Path) -> None:
    parts = replace(fake_parts(), method=FilmsAlone())
    by_quality = QUICK.model_copy(update={"selection": SelectionConfig(metric="quality", goal="max")})
    with pytest.raises(ConfigError, match=r"'quality' scores films against reports, and films_alone reads none.*loss"):
        fake_fit(tmp_path, by_quality, parts, validator=Countdown())
    validator = Countdown()
    fake_fit(tmp_path, QUICK, parts, validator=validator)
    assert validator.calls == 0
    assert len(figures_of(tmp_path, "validation")) == 2


def test_averaged_weights_are_validated_and_kept_and_training_goes_on_with_its_own(tmp_path: Path) -> None:
    plain = fake_parts()
    fake_fit(tmp_path / "plain", QUICK, plain)
    averaged = fake_parts()
    fake_fit(tmp_path / "ema", QUICK.model_copy(update={"ema_decay": 0.5}), averaged)
    assert torch.equal(plain.method.state_dict()["head.weight"], averaged.method.state_dict()["head.weight"])
    last = read_tensors(tmp_path / "ema" / "checkpoints" / "last.safetensors")[0]
    state = read_tensors(tmp_path / "ema" / "checkpoints" / "state.safetensors")[0]
    assert torch.equal(last["head.weight"], state["average/head.weight"])
    assert not torch.equal(last["head.weight"], state["model/head.weight"])


def test_the_moving_average_follows_its_formula() -> None:
    model = FakeMethod()
    average = MovingAverage(model, 0.75)
    expected = model.head.weight.detach().clone()
    for _ in range(3):
        with torch.no_grad():
            model.head.weight.add_(1.0)
        average.update()
        expected = 0.75 * expected + 0.25 * model.head.weight.detach()
    torch.testing.assert_close(average.average["head.weight"], expected)


class Diverging(FakeMethod):
    """Its local term is no longer a number at the fifth step."""

    steps = 0

    def losses(self, features: PairFeatures, gather: Gather) -> LossTerms:
        losses = super().losses(features, gather)
        self.steps += self.training
        if self.steps < 5:
            return losses
        return LossTerms({**losses.terms, "local": losses.terms["local"] * math.nan}, losses.weights)


def test_a_loss_that_is_no_number_stops_with_step_and_term(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(DivergedError, match="at step 5 the loss term 'local' became nan"):
        fake_fit(tmp_path, QUICK, replace(fake_parts(), method=Diverging()))
    state, facts = read_tensors(tmp_path / "checkpoints" / "state.safetensors")
    assert facts["place"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_a_gradient_that_is_no_number_stops_before_the_weights_are_touched(tmp_path: Path) -> None:
    parts = fake_parts()
    before = {name: value.clone() for name, value in parts.method.state_dict().items()}
    parts.method.get_parameter("head.weight").register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]  # torch's
    with pytest.raises(DivergedError, match="at step 1 the gradient's norm"):
        fake_fit(tmp_path, QUICK.model_copy(update={"clip_norm": 1.0}), parts)
    assert all(torch.equal(before[name], value) for name, value in parts.method.state_dict().items())


def test_clipping_bounds_the_step(tmp_path: Path) -> None:
    sgd = OptimizerConfig(name="sgd", learning_rate=1.0, weight_decay=0.0)
    parts = fake_parts()
    before = torch.nn.utils.parameters_to_vector(parts.method.parameters()).detach().clone()
    one = TrainingConfig.model_validate(
        {"epochs": 1, "batch_size": 32, "optimizer": sgd, "clip_norm": 0.01, "schedule": {"name": "constant"}}
    )
    fake_fit(tmp_path, one, parts)
    moved = torch.nn.utils.parameters_to_vector(parts.method.parameters()).detach() - before
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)
    assert figures_of(tmp_path, "train", "gradient_norm")[0] > 0.01


class Hooked(FakeMethod):
    """Holds its head still in the first epoch, and its temperature at a half whatever the update was."""

    def before_step(self, epoch: int) -> None:
        self.head.requires_grad_(epoch > 0)

    def after_step(self) -> None:
        with torch.no_grad():
            self.log_scale.fill_(0.5)


def test_a_method_is_told_the_epoch_before_each_step_and_may_correct_the_weights_after(tmp_path: Path) -> None:
    method = Hooked()
    before = method.head.weight.detach().clone()
    parts = replace(fake_parts(), method=method)
    fake_fit(tmp_path, QUICK.model_copy(update={"epochs": 1, "ema_decay": 0.5}), parts)
    assert torch.equal(method.head.weight, before)
    state = read_tensors(tmp_path / "checkpoints" / "state.safetensors")[0]
    assert method.log_scale.item() == 0.5
    assert state["average/log_scale"].item() == 0.5 + 0.5**5  # the average takes in corrected weights
    second = replace(fake_parts(), method=Hooked())
    fake_fit(tmp_path / "longer", QUICK, second)
    assert second.method.get_parameter("head.weight").grad is not None


def test_each_encoder_may_be_clipped_by_itself(tmp_path: Path) -> None:
    sgd = OptimizerConfig(name="sgd", learning_rate=1.0, weight_decay=0.0)
    one = TrainingConfig.model_validate(
        {"epochs": 1, "batch_size": 32, "optimizer": sgd, "clip_norm": 0.01, "schedule": {"name": "constant"}}
    )
    norms = {}
    for clip in ("joint", "by_encoder"):
        parts = fake_parts()
        before = {name: value.detach().clone() for name, value in parts.method.named_parameters()}
        fake_fit(tmp_path / clip, one.model_copy(update={"clip": clip}), parts)
        moved = {name: value.detach() - before[name] for name, value in parts.method.named_parameters()}
        by_part: dict[str, list[float]] = {}
        for name, value in moved.items():
            part = name.split(".")[0] if "encoder" in name else "rest"
            by_part.setdefault(part, []).append(value.norm().item())
        norms[clip] = {part: math.hypot(*values) for part, values in by_part.items()}
    assert list(norms["by_encoder"].values()) == pytest.approx([0.01] * 3, rel=1e-3)
    assert math.hypot(*norms["joint"].values()) == pytest.approx(0.01, rel=1e-3)
    logged = [figures_of(tmp_path / clip, "train", "gradient_norm") for clip in norms]
    assert logged[0] == pytest.approx(logged[1])


class TwoViews(FakeMethod):
    """Brings the two views of each film together."""

    image_views = 2
    seen = 0

    def encode(self, batch: PairBatch) -> PairFeatures:
        assert batch.second_view is not None
        self.seen += 1
        other = self.image_encoder(batch.second_view).flatten(2).transpose(1, 2)
        return super().encode(batch) | {"regions": other}


def test_a_method_that_asks_for_two_views_has_them_in_training_and_validation(tmp_path: Path) -> None:
    method = TwoViews()
    fake_fit(tmp_path, QUICK.model_copy(update={"epochs": 1}), replace(fake_parts(), method=method))
    assert method.seen == 5  # four steps and one batch of validation


def test_plain_accumulation_contrasts_each_micro_batch_by_itself(tmp_path: Path) -> None:
    small = QUICK.model_copy(update={"micro_batch": 2, "epochs": 1})
    fake_fit(tmp_path / "plain", small)
    fake_fit(tmp_path / "cached", small.model_copy(update={"accumulation": "cached"}))
    of_two, of_eight = (figures_of(tmp_path / name, "train", "loss/global")[0] for name in ("plain", "cached"))
    assert of_two < math.log(2) + 1 < of_eight


def test_mixed_precision_trains_in_bfloat16_and_keeps_float32_weights(tmp_path: Path) -> None:
    parts = fake_parts()
    fake_fit(tmp_path, QUICK.model_copy(update={"precision": "bf16-mixed"}), parts)
    assert {parameter.dtype for parameter in parts.method.parameters()} == {torch.float32}
    assert all(math.isfinite(loss) for loss in figures_of(tmp_path, "train"))


@pytest.mark.parametrize(("batch_size", "message"), [(64, "32 pairs, fewer than one batch of 64")])
def test_a_batch_larger_than_the_split_is_refused(tmp_path: Path, batch_size: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fake_fit(tmp_path, QUICK.model_copy(update={"batch_size": batch_size}))


def test_tensorboard_files_are_written_where_asked_for(tmp_path: Path) -> None:
    from tests.training.fakes import QUIET

    fake_fit(tmp_path, QUICK, runtime=QUIET.model_copy(update={"tensorboard": True}))
    assert list((tmp_path / "tensorboard").glob("events.*"))
