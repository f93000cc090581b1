"""``crossray verify``: whatever is missing, cut short or altered in a store, run, index or results is listed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.split_files import write_split
from crossray.data.splits import Fold, SplitList
from crossray.errors import CheckpointError, DataError
from crossray.evaluation.result_files import break_seal, seal_results
from crossray.files import unsealed, write_sealed_json, write_whole
from crossray.inference.calibration import CALIBRATION_FILE
from crossray.inference.run_files import MANIFEST_FILE, read_run_manifest
from crossray.inference.search.manifest import IndexManifest
from crossray.inference.search.write import Vectors, write_index
from crossray.tensor_file import write_tensors
from crossray.training.run_folder import Provenance, note_inputs, open_run, seal_run, sitting_now
from crossray.verify import verify
from tests.damage import flip_bit, truncate
from tests.data.studies import make_store, studies
from tests.inference.calibrations import write_calibration
from tests.training.stores import small_recipe

FLIPS = 25


def store(folder: Path) -> Path:
    return make_store(folder, studies(5)).path


def run(folder: Path, *, over: bool = True) -> Path:
    """A run's folder as training leaves it, with weights of a few numbers."""
    recipe, sitting = small_recipe(folder), sitting_now(torch.device("cpu"), 1)
    open_run(folder, recipe, Provenance("store", "split", 64), sitting)
    (folder / "tokenizer").mkdir()
    write_whole(folder / "tokenizer" / "tokenizer.json", '{"words": []}')
    note_inputs(folder)
    write_whole(folder / "metrics.jsonl", '{"step": 1}\n')
    for name in ("state", "best", "last"):
        write_tensors(folder / "checkpoints" / f"{name}.safetensors", {"weight": torch.arange(6.0)}, {"name": name})
    if over:
        seal_run(folder, "finished")
    return folder


def index(folder: Path) -> Path:
    vectors = np.eye(3, 4, dtype=np.float32)
    side = Vectors(vectors, pa.table({"study_id": ["a", "b", "c"], "digest": [b"1", b"2", b"3"]}), 3)
    facts = {"run": "r", "method": "clip", "weights": "w", "checkpoint": "best", "store": "s", "store_hash": "h"}
    counts = {"format_version": 1, "prepared_size": 16, "films": 3, "reports": 3, "dimension": 4}
    manifest = IndexManifest.model_validate({**facts, **counts, "kind": "exact", "version": "0", "date": "today"})
    write_index(folder, {"films": side, "reports": side}, manifest)
    return folder


def results(folder: Path) -> Path:
    folder.mkdir()
    for name in ("results.json", "results.csv", "draws.npz", "report.html"):
        write_whole(folder / name, f'{{"content of": "{name}"}}')
    seal_results(folder)
    return folder


def split(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "split.json"
    write_split(SplitList("own", (Fold("0", ("a", "b"), ("c",), ("d",)),)), path)
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {"store": store, "run": run, "index": index, "results": results}


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", [*MAKERS, "split"])
def test_what_was_just_written_is_whole(tmp_path: Path, kind: str) -> None:
    made = {**MAKERS, "split": split}[kind](tmp_path / kind)
    (verdict,) = verify(made)
    assert (verdict.kind, verdict.damages, verdict.notes) == (kind, (), ())
    assert verdict.files > 0
    assert verdict.bytes > 0


@pytest.mark.parametrize("kind", MAKERS)
def test_a_flipped_bit_in_any_file_is_found_and_the_file_named(tmp_path: Path, kind: str) -> None:
    made = MAKERS[kind](tmp_path / "made")
    places = random.Random(kind)
    for seed in range(FLIPS):
        copy = shutil.copytree(made, tmp_path / f"copy{seed}")
        hit = places.choice(files_of(copy))
        flip_bit(hit, seed)
        (verdict,) = verify(copy)
        assert hit in {damage.file for damage in verdict.damages}, (seed, hit)


def test_a_flipped_bit_in_a_split_list_is_found(tmp_path: Path) -> None:
    made = split(tmp_path / "split")
    whole = made.read_bytes()
    for seed in range(FLIPS):
        made.write_bytes(whole)
        flip_bit(made, seed)
        assert verify(made)[0].damages, seed


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("harm", [truncate, lambda path, seed: path.unlink()], ids=["truncated", "missing"])
def test_each_file_that_is_cut_short_or_gone_is_named(
    tmp_path: Path, kind: str, harm: Callable[[Path, int], None]
) -> None:
    made = MAKERS[kind](tmp_path / "made")
    for seed, name in enumerate(path.relative_to(made) for path in files_of(made)):
        copy = shutil.copytree(made, tmp_path / f"copy{seed}")
        harm(copy / name, seed)
        (verdict,) = verify(copy)
        if kind == "results" and name.name == MANIFEST_FILE and not (copy / name).exists():
            assert "no checksums" in verdict.notes[0]  # as if they were of an earlier version
            continue
        expected = copy if name.name in (MANIFEST_FILE, "index.json") and not (copy / name).exists() else copy / name
        assert {damage.file for damage in verdict.damages} & {expected, copy / name}, name


def test_damaged_films_name_their_studies(tmp_path: Path) -> None:
    made = store(tmp_path / "s")
    truncate(made / "films-00000.arrow", 0)
    (damage,) = verify(made)[0].damages
    assert damage.problem.endswith("It holds the films of 5 studies: s0, s1, s2, s3, s4.")


def test_a_run_that_is_not_over_is_checked_by_the_seals_of_its_checkpoints(tmp_path: Path) -> None:
    made = run(tmp_path / "run", over=False)
    (verdict,) = verify(made)
    assert verdict.damages == ()
    assert "not over" in verdict.notes[0]
    for seed, name in enumerate(("checkpoints/state.safetensors", "tokenizer/tokenizer.json", "config.yaml")):
        before = (made / name).read_bytes()
        flip_bit(made / name, seed)
        assert [damage.file for damage in verify(made)[0].damages] == [made / name]
        (made / name).write_bytes(before)


def test_weights_that_were_damaged_while_the_run_went_on_are_not_vouched_for(tmp_path: Path) -> None:
    made = run(tmp_path / "run", over=False)
    flip_bit(made / "checkpoints" / "best.safetensors", 1)
    with pytest.raises(CheckpointError, match=r"best\.safetensors"):
        seal_run(made, "finished")
    assert read_run_manifest(made).outcome == "training"


def test_a_resumed_run_notes_what_is_new_and_refuses_what_is_damaged(tmp_path: Path) -> None:
    made, recipe = run(tmp_path / "run", over=False), small_recipe(tmp_path / "run")
    sitting = read_run_manifest(made).sittings[0]
    provenance = Provenance("store", "split", 64)
    open_run(made, recipe, provenance, sitting)
    assert read_run_manifest(made).sittings == (sitting,)
    later = sitting.model_copy(update={"threads": sitting.threads + 1})
    open_run(made, recipe, provenance, later)
    assert read_run_manifest(made).sittings == (sitting, later)
    seal_run(made, "finished")
    flip_bit(made / "checkpoints" / "best.safetensors", 0)
    with pytest.raises(CheckpointError, match=r"best\.safetensors.*altered.*delete .*checkpoints"):
        open_run(made, recipe, provenance, later)
    shutil.rmtree(made / "checkpoints")
    open_run(made, recipe, provenance, later)  # trained again from its beginning
    assert (read_run_manifest(made).outcome, read_run_manifest(made).sittings) == ("training", (later,))


def test_a_calibration_is_checked_by_its_seal(tmp_path: Path) -> None:
    made = run(tmp_path / "run")
    before = verify(made)[0].files
    write_calibration(made, {})
    (verdict,) = verify(made)
    assert (verdict.damages, verdict.files) == ((), before + 1)
    whole = (made / CALIBRATION_FILE).read_bytes()
    for seed in range(FLIPS):
        (made / CALIBRATION_FILE).write_bytes(whole)
        flip_bit(made / CALIBRATION_FILE, seed)
        assert [damage.file for damage in verify(made)[0].damages] == [made / CALIBRATION_FILE]


def test_what_a_kill_leaves_before_there_is_a_configuration_is_no_obstacle(tmp_path: Path) -> None:
    folder, sitting = tmp_path / "run", sitting_now(torch.device("cpu"), 1)
    folder.mkdir()
    (folder / ".config.yaml.123.tmp").write_text("image:")
    (folder / MANIFEST_FILE).write_text("{")
    open_run(folder, small_recipe(folder), Provenance("store", "split", 64), sitting)
    assert read_run_manifest(folder).sittings == (sitting,)
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", MANIFEST_FILE]


def test_a_run_of_an_earlier_version_is_checked_by_its_hashes(tmp_path: Path) -> None:
    made = run(tmp_path / "run")
    content = read_run_manifest(made).model_dump(mode="json", exclude={"sittings"}, exclude_none=True)
    content["files"] = {name: entry["sha256"] for name, entry in content["files"].items()}
    write_whole(made / MANIFEST_FILE, json.dumps(content))
    assert verify(made)[0].damages == ()
    flip_bit(made / "checkpoints" / "last.safetensors", 3)
    assert [damage.file.name for damage in verify(made)[0].damages] == ["last.safetensors"]


def test_results_half_written_anew_have_no_seal(tmp_path: Path) -> None:
    made = results(tmp_path / "r")
    break_seal(made)
    assert "no checksums" in verify(made)[0].notes[0]
    (made / "results.json").write_text("{")
    assert [damage.file.name for damage in verify(made)[0].damages] == ["results.json"]


def test_the_command_verifies_all_below_a_folder_and_fails_if_anything_is_damaged(tmp_path: Path) -> None:
    for kind, make in MAKERS.items():
        make(tmp_path / "all" / kind) if kind != "results" else make(tmp_path / "results")
    command = ["verify", str(tmp_path)]
    whole = CliRunner().invoke(app, command)
    assert whole.exit_code == 0, whole.output
    assert whole.output.count(" is whole: ") == len(MAKERS)
    truncate(next((tmp_path / "all" / "index").glob("*.faiss")), 0)
    damaged = CliRunner().invoke(app, command)
    assert damaged.exit_code == 1
    assert damaged.output.count(" is whole: ") == len(MAKERS) - 1
    assert "were written." in damaged.output
    assert "(index) is damaged: 1 of its files" in damaged.output


def test_a_folder_with_nothing_to_verify_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no store, run, index, results or split list"):
        verify(tmp_path)


def test_a_seal_shows_every_change_of_a_manifest(tmp_path: Path) -> None:
    write_sealed_json(tmp_path / "m.json", {"a": 1, "b": [True, None, "ü"]})
    content = json.loads((tmp_path / "m.json").read_text())
    assert unsealed(content) == {"a": 1, "b": [True, None, "ü"]}
    with pytest.raises(ValueError, match="seal"):
        unsealed({**content, "a": 2})
    assert unsealed({"a": 2}) == {"a": 2}  # written before there were seals
