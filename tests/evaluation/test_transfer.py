"""A classifier trained on one store and tested on another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.split_files import write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store
from crossray.data.study import Study
from crossray.errors import ConfigError
from crossray.evaluation.joined_films import JoinedFilms
from crossray.evaluation.localized.trunks import open_trunk
from crossray.evaluation.models import FloorModel
from crossray.evaluation.results import read_results
from crossray.evaluation.transfer import transfer
from crossray.evaluation.transfer_config import TransferConfig, TransferRequest
from crossray.files import sha256_of
from crossray.settings import build_settings
from crossray.verify import verify

from .conftest import DrawnSource

LABELS = ("No Finding", "Pleural Effusion")


class OtherSource(DrawnSource):
    """The same drawings as other studies."""

    name = "elsewhere"

    def studies(self) -> Iterator[Study]:
        return (replace(study, study_id=f"elsewhere-{study.study_id}") for study in super().studies())

    def fingerprint(self) -> str:
        return "elsewhere-1"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere") / "store"
    prepare_store(OtherSource(), folder, build_settings(PrepareConfig, {"size": 40}), workers=1)
    return folder


def _config(**changes: object) -> TransferConfig:
    return build_settings(
        TransferConfig, {"labels": LABELS, "draws": 20, "probe": {"c_grid": [0.01]}, "batch_size": 16, **changes}
    )


def _request(trained: Path, test: Path, out: Path) -> TransferRequest:
    return TransferRequest(trained / "runs" / "fold0", trained / "store", str(trained / "split.json"), test, out, "0")


def test_every_study_of_a_new_store_is_tested_beside_the_floor(trained: Path, elsewhere: Path, tmp_path: Path) -> None:
    finetune = {"epochs": 1, "batch_size": 8}
    config = _config(tasks=("probe", "finetune"), finetune=finetune)
    results = transfer(_request(trained, elsewhere, tmp_path / "out"), config)
    assert read_results(tmp_path / "out") == results
    assert (results.provenance.studies, results.provenance.protocol) == (48, "transfer-drawn-to-elsewhere")
    for task in ("probe", "finetune"):
        row = results.one(task=task, model="pretrained (global_local)", metric="AUROC", target="Pleural Effusion")
        assert (row.n, row.positives) == (48, 32)
        assert results.select(task=task, kind="difference", target="Pleural Effusion")


def test_trunks_from_elsewhere_are_given_the_same_films(trained: Path, elsewhere: Path, tmp_path: Path) -> None:
    random = open_trunk("random:resnet18", 32)
    torch.save(random.encoder.trunk.state_dict(), tmp_path / "trunk.pth")
    encoders = ("random:resnet18", str(tmp_path / "trunk.pth"))
    request = replace(_request(trained, elsewhere, tmp_path / "out"), image_encoders=encoders)
    results = transfer(request, _config())
    rows = results.select(task="probe", metric="AUROC", target="Pleural Effusion", kind="model")
    assert [row.model for row in rows] == [
        "pretrained (global_local)", "resnet18 (random)", "resnet18 (trunk.pth)",
    ]  # fmt: skip
    assert rows[1].value == rows[2].value  # the file holds what random gives
    differences = results.select(task="probe", metric="AUROC", target="Pleural Effusion", kind="difference")
    assert len(differences) == 3
    digest = sha256_of(tmp_path / "trunk.pth")
    assert results.provenance.choices["weights of resnet18 (trunk.pth)"] == f"sha256 {digest}"
    assert digest in (tmp_path / "out" / "results.md").read_text()
    assert [verdict.lines()[1:] for verdict in verify(tmp_path / "out")] == [[]]
    (tmp_path / "trunk.pth").write_bytes((tmp_path / "trunk.pth").read_bytes()[:-1] + b"?")
    (verdict,) = verify(tmp_path / "out")
    assert (verdict.damages, len(verdict.notes)) == ((), 1)  # the results are whole; what they are of is another file
    assert "trunk.pth, from which it was made: was altered" in verdict.notes[0]
    (tmp_path / "trunk.pth").unlink()
    assert verify(tmp_path / "out")[0].notes[0].endswith("trunk.pth, from which it was made: is missing.")
    with pytest.raises(ConfigError, match="'resnet18' is no image encoder"):
        transfer(replace(request, image_encoders=("resnet18",)), _config())


def test_of_its_own_store_a_run_is_tested_on_its_test_side_only(trained: Path, tmp_path: Path) -> None:
    results = transfer(_request(trained, trained / "store", tmp_path / "out"), _config())
    assert results.provenance.studies == 16


def test_of_the_store_that_a_classifier_learned_from_its_test_side_is_tested(elsewhere: Path, trained: Path) -> None:
    ids = Store.open(elsewhere).study_ids
    split = SplitList("elsewhere", (Fold("0", tuple(ids[24:]), tuple(ids[16:24]), tuple(ids[:16])),))
    write_split(split, elsewhere.parent / "split.json")
    request = replace(
        _request(trained, elsewhere, elsewhere.parent / "own"),
        train=elsewhere,
        split=str(elsewhere.parent / "split.json"),
    )
    assert transfer(request, _config()).provenance.studies == 16


def test_trunks_alone_need_no_run(trained: Path, elsewhere: Path, tmp_path: Path) -> None:
    beside = replace(_request(trained, elsewhere, tmp_path / "beside"), image_encoders=("random:resnet18",))
    alone = replace(beside, run=None, out=tmp_path / "alone", image_encoders=("random:resnet18", "random:resnet10t"))
    config = _config(tasks=("probe", "finetune"), finetune={"epochs": 1, "batch_size": 8}, image={"size": 32})
    results = transfer(alone, config)
    assert read_results(tmp_path / "alone") == results
    assert (results.provenance.runs, results.provenance.studies) == ({}, 48)
    chosen = {"metric": "AUROC", "target": "Pleural Effusion"}
    for task in config.tasks:
        rows = results.select(task=task, kind="model", **chosen)
        assert [row.model for row in rows] == ["resnet18 (random)", "resnet10t (random)"]
        assert len(results.select(task=task, kind="difference", **chosen)) == 1
    same = transfer(beside, _config()).one(task="probe", model="resnet18 (random)", **chosen)
    assert results.one(task="probe", model="resnet18 (random)", **chosen).value == same.value


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"run": None}, {}, r"nothing to transfer\. Give the folder of a run, or --image-encoder"),
        ({"run": None, "image_encoders": ("random:resnet18",)}, {"tasks": ("zero_shot",)}, "no text for zero_shot"),
        ({}, {"image": {"size": 32}}, "the run says what its films look like"),
        ({"image_encoders": ("random:resnet18",) * 2}, {}, r"two trunks are called 'resnet18 \(random\)'"),
    ],
)
def test_what_cannot_be_transferred_is_refused(
    changes: dict[str, Any], settings: dict[str, object], message: str, trained: Path, elsewhere: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        transfer(replace(_request(trained, elsewhere, tmp_path), **changes), _config(**settings))


def test_a_fraction_uses_fewer_labels(trained: Path, elsewhere: Path, tmp_path: Path) -> None:
    results = transfer(_request(trained, elsewhere, tmp_path / "out"), _config(fraction=0.5))
    assert results.provenance.choices["training labels"].startswith("12 studies of drawn")


def test_a_label_that_a_store_lacks_is_named(trained: Path, elsewhere: Path, tmp_path: Path) -> None:
    both = (
        r"no labels Edema.*It holds .*Of what both stores hold: --set labels=\[No Finding,Pleural Effusion,Fracture\]"
    )
    with pytest.raises(ConfigError, match=both):
        transfer(_request(trained, elsewhere, tmp_path / "out"), _config(labels=("Edema",)))


def test_weights_that_cannot_be_had_are_refused_before_any_film_is_read(
    trained: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: FloorModel, films: NDArray[np.int64]) -> NDArray[np.float32]:
        raise AssertionError("films were read")

    monkeypatch.setattr(FloorModel, "features", read)
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "no-trunk.pth")
    encoders = ("random:resnet18", str(tmp_path / "no-trunk.pth"))
    with pytest.raises(ConfigError, match=r"no-trunk\.pth"):
        transfer(replace(_request(trained, elsewhere, tmp_path / "out"), run=None, image_encoders=encoders), _config())

    def unreachable(*given: object) -> torch.nn.Module:
        raise ConfigError("the weights cannot be fetched.")

    monkeypatch.setattr("crossray.encoders.image_weights._from_hub", unreachable)
    encoders = ("random:resnet18", "timm:resnet10t")
    with pytest.raises(ConfigError, match="cannot be fetched"):
        transfer(replace(_request(trained, elsewhere, tmp_path / "out"), run=None, image_encoders=encoders), _config())


def test_joined_films_keep_the_order_that_was_asked_for(trained: Path, elsewhere: Path) -> None:
    first, second = Store.open(trained / "store"), Store.open(elsewhere)
    films = JoinedFilms(first, second)
    rows = [films.offset + 3, 5, films.offset, 0]
    wanted = np.stack([second.pixels([3])[0], first.pixels([5])[0], second.pixels([0])[0], first.pixels([0])[0]])
    np.testing.assert_array_equal(films.pixels(rows), wanted)


def test_stores_of_different_size_are_refused(trained: Path, tmp_path: Path) -> None:
    prepare_store(OtherSource(), tmp_path / "small", build_settings(PrepareConfig, {"size": 32}), workers=1)
    with pytest.raises(ConfigError, match="40 and 32 pixels"):
        JoinedFilms(Store.open(trained / "store"), Store.open(tmp_path / "small"))


@pytest.mark.parametrize("tasks", [("prob",), ()])
def test_a_task_that_there_is_not_is_refused(tasks: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="tasks"):
        _config(tasks=tasks)


def test_a_run_is_asked_as_it_is_about_another_stores_films(trained: Path, elsewhere: Path, tmp_path: Path) -> None:
    config = _config(tasks=("zero_shot", "retrieval"), labels=("Pleural Effusion",))
    results = transfer(_request(trained, elsewhere, tmp_path / "out"), config)
    models = {row.model for row in results.select(task="zero_shot")}
    assert models == {"chance", "pretrained (global_local)"}
    row = results.one(task="retrieval", metric="R@10", target="film → report", kind="model")
    assert (row.n, row.value is not None) == (48, True)
    assert not (tmp_path / "out" / "groups.md").exists()  # nobody tells sex, age or view here


class NihSource(OtherSource):
    """As NIH names it."""

    name = "nih"
    label_names = ("No Finding", "Effusion")

    def studies(self) -> Iterator[Study]:
        for number, study in enumerate(super().studies()):
            labels = {"No Finding": study.labels["No Finding"], "Effusion": study.labels["Pleural Effusion"]}
            yield replace(study, labels=labels, phrase_regions=(), attributes={"sex": "FM"[number % 2]})


def test_nihs_name_of_a_class_is_known_and_groups_are_written(trained: Path, tmp_path: Path) -> None:
    prepare_store(NihSource(), tmp_path / "store", build_settings(PrepareConfig, {"size": 40}), workers=1)
    results = transfer(_request(trained, tmp_path / "store", tmp_path / "out"), _config())
    assert results.one(task="probe", metric="AUROC", target="Pleural Effusion", kind="model").positives == 32
    groups = (tmp_path / "out" / "groups.md").read_text()
    assert "| Pleural Effusion | F (n⁺ 16 of 24) |" in groups
    assert "| Pleural Effusion | F − M |" in groups
    confounding = (tmp_path / "out" / "confounding.md").read_text()
    assert "| sex F (24 of 48) |" in confounding
    assert "| Effusion |" in confounding
