"""BenchX's classification settings: protocols and recipes against the published tables (downstream_protocols, 8.1)."""

from __future__ import annotations

import pytest

from crossray.errors import ConfigError
from crossray.evaluation.localized.pixels import FIXED
from crossray.evaluation.localized.protocol import LocalizedProtocol
from crossray.evaluation.localized.shipped import protocols_of, read_protocol

# 8.1: data set, labels, loss, metric. Train / validation / test of the release.
SETS = {
    "nih": ("nih_cxr14", 14, "bce", "auroc", (78_468, 11_219, 22_433)),
    "vindr": ("vindr_cxr", 14, "bce", "auroc", (12_000, 3_000, 3_000)),
    "rsna": ("rsna_pneumonia", 1, "ce", "f1", (18_678, 4_003, 4_003)),
    "siim": ("siim_acr", 1, "ce", "f1", (9_303, 1_372, 1_372)),
}
# Optimiser, rate, batch, TNI, DLR, warm-up and total steps: 8.1, for VinDr the release's config/classification.
RECIPES = """
nih   convirt   adam 1e-4 64  yes yes 50 3000
nih   gloria    adam 1e-4 64  no  yes 50 3000
nih   mgca_rn50 adam 1e-5 32  no  no  50 3000
nih   mgca_vit  sgd  1e-2 64  yes yes 50 3000
rsna  convirt   adam 5e-5 64  yes yes 60 1200
rsna  gloria    adam 1e-4 32  no  yes 50 3000
rsna  mgca_rn50 adam 1e-5 32  no  no  50 3000
rsna  mgca_vit  sgd  1e-2 32  yes yes 50 3000
siim  convirt   adam 1e-4 128 yes yes 60 1200
siim  gloria    adam 1e-5 128 no  yes 50 3000
siim  mgca_rn50 adam 1e-5 128 no  no  50 3000
siim  mgca_vit  sgd  1e-2 128 yes yes 50 3000
vindr convirt   adam 5e-5 32  yes yes 10 200
vindr gloria    adam 1e-4 64  no  yes 50 3000
vindr mgca_rn50 adam 5e-5 64  no  no  50 3000
vindr mgca_vit  sgd  3e-2 64  yes yes 50 3000
"""


def test_the_suite_is_four_sets_in_three_fractions() -> None:
    expected = [f"benchx_{name}_{share}" for name in ("nih", "vindr", "rsna", "siim") for share in (1, 10, 100)]
    assert [protocol.id for protocol in protocols_of("benchx")] == expected


@pytest.mark.parametrize("protocol", protocols_of("benchx"), ids=lambda protocol: protocol.id)
def test_a_protocol_has_the_published_settings(protocol: LocalizedProtocol) -> None:
    _, name, share = protocol.id.split("_")
    source, labels, loss, metric, films = SETS[name]
    assert (protocol.source, len(protocol.targets), protocol.loss, protocol.metric) == (source, labels, loss, metric)
    assert protocol.train_fraction == int(share) / 100
    assert protocol.validation_fraction == 1.0
    sides = films if name != "vindr" else films[:2]  # the publisher's test side stands apart
    assert protocol.shares[: len(sides)] == pytest.approx([count / sum(sides) for count in sides], abs=1e-3)
    schedule = protocol.schedule
    assert (schedule.max_epochs, schedule.first_look, schedule.look_every, schedule.patience) == (200, 10, 5, 10)
    assert (schedule.clip_norm, schedule.weight_decay, schedule.min_delta, schedule.keep_last) == (1.0, 0, 0, True)
    assert (protocol.trunk, protocol.size, protocol.dropout, protocol.layer_norm) == ("finetune", 224, 0, True)
    assert FIXED[protocol.normalisation].mean == 0.4978
    assert FIXED[protocol.normalisation].std == 0.2449
    view = protocol.augmentation
    assert view is not None
    assert (view.crop, view.crop_scale, view.horizontal_flip) == ("random", (0.08, 1.0), 0.5)
    assert view.crop_ratio == pytest.approx((3 / 4, 4 / 3))
    assert (view.degrees, view.translate, view.scale, view.brightness) == (0, 0, (1, 1), (1, 1))
    assert protocol.run_seeds == (42, 0, 1)
    assert not protocol.is_linear_grid
    assert protocol.notes


@pytest.mark.parametrize("row", RECIPES.strip().splitlines(), ids=lambda row: "-".join(row.split()[:2]))
def test_a_recipe_is_that_of_the_published_table(row: str) -> None:
    name, recipe, optimizer, rate, batch, small_start, slow_trunk, warmup, total = row.split()
    for share in (1, 10, 100):
        protocol = read_protocol(f"benchx_{name}_{share}", changes=(f"recipe={recipe}",))
        schedule = protocol.schedule
        assert (schedule.optimizer, schedule.batch_size, schedule.momentum) == (optimizer, int(batch), 0.9)
        assert protocol.learning_rates == (float(rate),)
        assert protocol.weight_std == (2e-5 if small_start == "yes" else None)
        assert schedule.trunk_rate == (0.1 if slow_trunk == "yes" else 1.0)
        assert schedule.cosine is not None
        assert (schedule.cosine.warmup_steps, schedule.cosine.total_steps) == (int(warmup), int(total))
    assert read_protocol(f"benchx_{name}_1").recipe == "convirt"


def test_changes_lie_over_a_recipe_and_an_unknown_one_is_told_which_there_are() -> None:
    changed = read_protocol("benchx_nih_1", changes=("recipe=mgca_vit", "schedule.batch_size=8", "weight_std=null"))
    assert (changed.schedule.optimizer, changed.schedule.batch_size, changed.weight_std) == ("sgd", 8, None)
    with pytest.raises(ConfigError, match=r"no recipe 'medklip'.*convirt, gloria, mgca_rn50, mgca_vit"):
        read_protocol("benchx_nih_1", changes=("recipe=medklip",))
    with pytest.raises(ConfigError, match=r"'rsna_frozen_1' has no recipe 'convirt'.*none"):
        read_protocol("rsna_frozen_1", changes=("recipe=convirt",))


def test_legacy_lets_the_cosine_rise_and_changes_nothing_else() -> None:
    for clean in protocols_of("benchx"):
        legacy = read_protocol(clean.id, "legacy")
        assert clean.schedule.cosine is not None
        assert clean.schedule.cosine.clamped
        rising = clean.schedule.cosine.model_copy(update={"clamped": False})
        schedule = clean.schedule.model_copy(update={"cosine": rising})
        assert legacy == clean.model_copy(update={"preset": "legacy", "schedule": schedule})
        assert read_protocol(clean.id, changes=("preset=legacy",)) == legacy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("targets=[Lung Opacity, Edema]", "loss: ce is of one target"),
        ("loss=bce", "metric: f1 is of loss: ce"),
        ("seeds=4", "seed_list has not 4 different seeds"),
        ("seed_list=[1,1,2]", "seed_list has not 3 different seeds"),
        ("schedule.plateau_patience=3", "cosine sets every rate"),
    ],
)
def test_a_change_that_does_not_fit_is_explained(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_protocol("benchx_rsna_10", changes=(change,))
    with pytest.raises(ConfigError, match="are for classification"):
        read_protocol("rsna_frozen_1", changes=("layer_norm=true",))


def test_a_search_has_a_seed_that_no_run_has() -> None:
    protocol = read_protocol("benchx_rsna_10", changes=("learning_rates=[1.0e-4, 1.0e-5]",))
    assert (protocol.search_seed, protocol.trainings) == (2, 5)
    assert read_protocol("rsna_frozen_1").search_seed == 0
