"""The shipped protocols are those of the specification's tables, row by row."""

from __future__ import annotations

import pytest

from crossray.errors import ConfigError
from crossray.evaluation.localized.config import batches_per_epoch
from crossray.evaluation.localized.protocol import LocalizedProtocol
from crossray.evaluation.localized.shipped import protocol_ids, protocols_of, read_protocol, suites

RSNA, COVID, SIIM, OBJECT, NIH = "rsna_pneumonia", "covid_rural", "siim_acr", "object_cxr", "nih_cxr14"

# localized_evaluation, section 1: number, id, data set, head, protocol, share of train, loss, metric.
TASKS = f"""
1  rsna_finetune_1                {RSNA}   yolo_v3 finetune 0.01 yolo map
2  rsna_finetune_10               {RSNA}   yolo_v3 finetune 0.1  yolo map
3  rsna_finetune_100              {RSNA}   yolo_v3 finetune 1    yolo map
4  rsna_frozen_1                  {RSNA}   yolo_v3 frozen   0.01 yolo map
5  rsna_frozen_10                 {RSNA}   yolo_v3 frozen   0.1  yolo map
6  rsna_frozen_100                {RSNA}   yolo_v3 frozen   1    yolo map
7  rsna_seg_linear_1              {RSNA}   linear  frozen   0.01 dice dice
8  rsna_seg_linear_10             {RSNA}   linear  frozen   0.1  dice dice
9  rsna_seg_linear_100            {RSNA}   linear  frozen   1    dice dice
10 covid_unet_finetune            {COVID}  unet    finetune 1    dice dice
11 covid_unet_frozen              {COVID}  unet    frozen   1    dice dice
12 covid_linear                   {COVID}  linear  frozen   1    dice dice
13 pneumothorax_unet_finetune_100 {SIIM}   unet    finetune 1    dice dice
14 pneumothorax_unet_frozen_100   {SIIM}   unet    frozen   1    dice dice
15 object_finetune_100            {OBJECT} yolo_v3 finetune 1    yolo froc
16 object_frozen_100              {OBJECT} yolo_v3 frozen   1    yolo froc
17 object_seg_linear_100          {OBJECT} linear  frozen   1    dice dice
18 nih_seg_linear                 {NIH}    linear  frozen   1    dice dice
"""

# Section 2: number, batch, epochs, patience, warm-up batches, learning rates.
SCHEDULES = """
1  8  500 20 100 3e-4 1e-4
2  64 100 10 100 3e-4 1e-3
3  64 50  10 100 3e-4 1e-4
4  8  500 20 0   1e-3 3e-4
5  64 100 10 0   1e-3
6  64 50  10 0   3e-4 1e-3
7  8  500 20 0   3e-2 1e-2 3e-3 1e-4
8  64 100 10 0   3e-2 1e-2 3e-3 1e-3
9  64 50  10 0   3e-2 1e-2 3e-3 1e-3
10 8  100 20 20  1e-4 3e-4
11 8  100 20 0   1e-4 3e-4 1e-3
12 8  100 20 0   3e-2 1e-2 3e-3 1e-3
13 64 50  10 100 3e-5 1e-5
14 64 50  10 0   3e-5 1e-5
15 64 100 10 100 1e-3 3e-4
16 64 100 10 0   1e-3 3e-3
17 64 100 10 0   3e-1 1e-1 3e-2 1e-2
18 64 100 10 0   1e-1 3e-2 1e-2
"""

# Section 5: training films of each data set; numeric check E9: batches of an epoch.
TRAIN_FILMS = {RSNA: 16_010, COVID: 133, SIIM: 7_229, OBJECT: 6_400, NIH: 588}
BATCHES = {**dict.fromkeys((1, 4, 7), 20), **dict.fromkeys((2, 5, 8), 25), **dict.fromkeys((3, 6, 9), 250)}
BATCHES |= {
    **dict.fromkeys((10, 11, 12), 16),
    **dict.fromkeys((13, 14), 112),
    **dict.fromkeys((15, 16, 17), 100),
    18: 9,
}


def rows_of(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]


LOVT = {protocol.number: protocol for protocol in protocols_of("localized18")}


@pytest.mark.parametrize("row", rows_of(TASKS), ids=lambda row: row[1])
def test_a_protocol_is_that_of_the_table_of_tasks(row: list[str]) -> None:
    number, name, source, head, trunk, share, loss, metric = row
    protocol = LOVT[int(number)]
    found = (protocol.id, protocol.source, protocol.head, protocol.trunk, protocol.loss, protocol.metric)
    assert found == (name, source, head, trunk, loss, metric)
    assert protocol.train_fraction == float(share)
    assert protocol.validation_fraction == (0.1 if source == RSNA else 1.0)


@pytest.mark.parametrize("row", rows_of(SCHEDULES), ids=lambda row: row[0])
def test_a_protocol_is_that_of_the_table_of_schedules(row: list[str]) -> None:
    number, batch, epochs, patience, warmup, *rates = row
    protocol, schedule = LOVT[int(number)], LOVT[int(number)].schedule
    found = (schedule.batch_size, schedule.max_epochs, schedule.patience, schedule.warmup_batches)
    assert found == (int(batch), int(epochs), int(patience), int(warmup))
    assert protocol.learning_rates == tuple(map(float, rates))


@pytest.mark.parametrize("protocol", LOVT.values(), ids=lambda protocol: protocol.id)
def test_what_all_of_lovts_protocols_share(protocol: LocalizedProtocol) -> None:
    schedule = protocol.schedule
    assert (schedule.optimizer, schedule.weight_decay, schedule.min_delta) == ("adam", 1e-6, 1e-5)
    assert (schedule.plateau_factor, schedule.plateau_patience, schedule.selection) == (0.5, 3, "metric")
    assert (schedule.warmup_learning_rate, protocol.size, protocol.seeds) == (1e-3, 224, 5)
    assert (protocol.normalisation, protocol.unet_width, protocol.train_films) == ("train_side", 2048, "all")
    assert (protocol.yolo.anchors, protocol.yolo.confidence, protocol.yolo.suppression) == ("lovt", 0.2, 0.4)


@pytest.mark.parametrize("protocol", LOVT.values(), ids=lambda protocol: protocol.id)
def test_E9_batches_of_an_epoch(protocol: LocalizedProtocol) -> None:
    films = round(protocol.train_fraction * TRAIN_FILMS[protocol.source])
    assert batches_per_epoch(films, protocol.config(1e-3, 0, films).batch_size) == BATCHES[protocol.number]


def test_nih_has_its_eight_classes_in_their_order() -> None:
    classes = "Atelectasis Cardiomegaly Effusion Infiltrate Mass Nodule Pneumonia Pneumothorax"
    assert LOVT[18].targets == tuple(classes.split())


def test_a_suite_names_protocols_and_every_protocol_is_in_a_suite() -> None:
    named = [name for suite in suites().values() for name in suite.protocols]
    assert sorted(named) == list(protocol_ids())
    assert [read_protocol(name).id for name in named] == named
    assert [protocol.number for protocol in protocols_of("localized18")] == list(range(1, 19))
    assert {protocol.paper for protocol in protocols_of("prior5")} == {"PRIOR"}
    assert all(protocol.notes for protocol in protocols_of("prior5"))


def test_legacy_brings_back_the_defects_that_a_protocol_names_and_nothing_else() -> None:
    for clean in protocols_of("localized18"):
        legacy = read_protocol(clean.id, "legacy")
        assert legacy.schedule.rate_resets == legacy.schedule.late_train_mode == (clean.trunk == "finetune")
        assert legacy.yolo.preset == ("legacy" if clean.kind == "detection" else "clean")
        assert bool(legacy.legacy.store) == (clean.source == OBJECT)
        assert legacy.legacy.shared_patients == (clean.source == NIH)
        assert (clean.preset, legacy.preset) == ("clean", "legacy")
        assert not clean.schedule.rate_resets
        assert clean.yolo.preset == "clean"


def test_changes_lie_over_a_protocol() -> None:
    changed = read_protocol("prior_siim_segmentation", changes=("trunk=finetune", "schedule.max_epochs=2", "size=64"))
    assert (changed.trunk, changed.schedule.max_epochs, changed.size) == ("finetune", 2, 64)
    assert changed.schedule.batch_size == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("hed=unet", "Did you mean 'head'"),
        ("head=yolo_v3", "segmentation has no head 'yolo_v3'"),
        ("metric=froc", "segmentation has no metric 'froc'"),
        ("schedule.warmup_batches=20", "belong to trunk: finetune"),
        ("shares=[0.5,0.2,0.2]", "shares must add up to 1"),
        ("trunk=partial:0", "trunk"),
        ("trunk=half", "trunk"),
    ],
)
def test_a_change_that_does_not_fit_is_explained(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_protocol("rsna_seg_linear_10", changes=(change,))


def test_an_unknown_protocol_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"localized18, prior5.*rsna_seg_linear_10"):
        protocols_of("rsna")
