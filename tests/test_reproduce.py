"""``crossray reproduce``: a run done again is the same to the bit, and what is not as it was is named before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation.validator import RetrievalValidator
from crossray.files import FileEntry, write_sealed_json
from crossray.inference.run_files import MANIFEST_FILE, RunManifest, read_run_manifest
from crossray.reproduce import changes_since, compare_runs, reproduce
from crossray.tensor_file import read_tensors, write_tensors
from crossray.training.pretrain import pretrain
from crossray.training.recipe import load_recipe
from tests.training.stores import phantom_store, small_recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``store``, ``split.json`` and a finished ``run`` of one epoch."""
    folder = tmp_path_factory.mktemp("made")
    phantom_store(folder)
    pretrain(small_recipe(folder, training={"epochs": 1}), folder / "run", validator=RetrievalValidator())
    return folder


def with_manifest(run: Path, **changes: object) -> RunManifest:
    """Write the manifest anew, as if the run had been made otherwise."""
    manifest = read_run_manifest(run).model_copy(update=changes)
    write_sealed_json(run / MANIFEST_FILE, manifest.model_dump(mode="json", exclude_none=True))
    return manifest


def test_a_run_done_again_is_bit_equal(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "again"
    done = CliRunner().invoke(app, ["reproduce", str(made / "run"), "--out", str(other)])
    assert done.exit_code == 0, done.output
    assert done.output.count(": bit-equal") == 5  # best, last, state, tokenizer, log
    for name in ("best", "last", "state"):
        file = f"checkpoints/{name}.safetensors"
        one, two = (read_tensors(folder / file)[0] for folder in (made / "run", other))
        assert all(torch.equal(one[key], two[key]) for key in one)
    weights = other / "checkpoints" / "best.safetensors"
    tensors, facts = read_tensors(weights)
    name = min(tensors)
    tensors[name] = tensors[name] + 1e-3
    write_tensors(weights, tensors, facts)
    lines = (other / "metrics.jsonl").read_text().splitlines()
    record = json.loads(lines[1])
    (other / "metrics.jsonl").write_text("\n".join([lines[0], json.dumps({**record, "loss": 0.5}), *lines[2:]]))
    found = {one.name: one.difference for one in compare_runs(made / "run", other)}
    assert found["checkpoints/best.safetensors"] == (
        f"1 of {len(tensors)} tensors differ, by at most 0.001, first {name}"
    )
    assert found["metrics.jsonl"] == f"differs from line 2 on (step 2: loss {record['loss']} and 0.5)"
    assert found["checkpoints/state.safetensors"] is None


METHODS: dict[str, dict[str, Any]] = {
    "joimternet": {},
    "global_local": {},
    "lovt": {},
    "prior": {
        "training": {
            "epochs": 3,
            "stages": [{"name": name, "epochs": 1} for name in ("align", "prototypes", "reconstruct")],
        }
    },
    "convirt": {},
    "mgca": {"text_encoder": {"class_attention": True}},
    "clip": {},
    "siglip": {},
    "supervised": {},
    "simclr": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_any_method_done_again_is_bit_equal(method: str, made: Path, tmp_path: Path) -> None:
    changes = {"training": {"epochs": 1}, **METHODS[method]}
    recipe = small_recipe(made, method={"name": method}, **changes)
    pretrain(recipe, tmp_path / "run", validator=RetrievalValidator())
    summary, compared = reproduce(tmp_path / "run", tmp_path / "again")
    assert summary.steps > 0
    assert {one.name for one in compared} >= {f"checkpoints/{name}.safetensors" for name in ("best", "last", "state")}
    assert {one.name: one.difference for one in compared if one.difference} == {}


def test_another_number_of_threads_is_told_and_refused(made: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        refused = CliRunner().invoke(app, ["reproduce", str(made / "run"), "--out", str(tmp_path / "again")])
    finally:
        torch.set_num_threads(before)
    assert isinstance(refused.exception, ConfigError)
    said = f"cannot be done again as it was: threads: {before} then, {before + 1} now."
    assert said in refused.exception.message
    assert not (tmp_path / "again").exists()


def test_what_is_not_as_it_was_is_listed_before_anything_is_trained(made: Path, tmp_path: Path) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    assert changes_since(read_run_manifest(run), load_recipe(run / "config.yaml")) == []
    sitting = read_run_manifest(run).sittings[0]
    earlier = sitting.model_copy(
        update={"code": "0.0.9+abc", "versions": {**sitting.versions, "torch": "1.0"}, "threads": 99}
    )
    made_from = {**read_run_manifest(run).made_from, "store": "0123456789abcdef"}
    with_manifest(run, sittings=(earlier,), made_from=made_from)
    with pytest.raises(ConfigError) as caught:
        reproduce(run, tmp_path / "again")
    for said in (
        "store: hash 0123456789ab then",
        "code: 0.0.9+abc then",
        "torch: 1.0 then",
        "threads: 99 then",
        "--anyway",
    ):
        assert said in caught.value.message
    assert "split: hash" not in caught.value.message
    assert not (tmp_path / "again").exists()


def test_a_run_of_several_sittings_or_of_unknown_code_is_refused(made: Path, tmp_path: Path) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    sitting = read_run_manifest(run).sittings[0]
    recipe = load_recipe(run / "config.yaml")
    two = with_manifest(run, sittings=(sitting, sitting.model_copy(update={"threads": 99})))
    assert changes_since(two, recipe) == ["the run was resumed with other code or another environment"]
    assert changes_since(with_manifest(run, sittings=()), recipe) == ["the run does not say its code"]


def test_a_run_that_is_not_over_or_damaged_is_refused(made: Path, tmp_path: Path) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    files = read_run_manifest(run).files
    with_manifest(run, files={**files, "config.yaml": FileEntry("0" * 64, files["config.yaml"].bytes)})
    with pytest.raises(CheckpointError, match=r"config\.yaml.*altered"):
        reproduce(run, tmp_path / "again")
    with_manifest(run, outcome="training")
    with pytest.raises(CheckpointError, match="not over"):
        reproduce(run, tmp_path / "again")
    with_manifest(run, outcome="exported", files={})
    with pytest.raises(CheckpointError, match="exported"):
        reproduce(run, tmp_path / "again")
    with pytest.raises(CheckpointError, match="not a run folder"):
        reproduce(tmp_path, tmp_path / "again")
