"""torchrun starts the processes again when one of them is killed or hangs, and the run ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossray.training.recipe import recipe_text
from tests.training.fakes import figures_of
from tests.training.stores import phantom_store, small_recipe

pytestmark = pytest.mark.slow

STEPS = 120
STRUCK_AT = 20
PATIENCE_SECONDS = 900
BIN = Path(sys.executable).parent


def torchrun(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """``crossray pretrain`` as two processes, which torchrun may start again once; what they say goes to a file."""
    command = [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "--no-python"]
    command += [str(BIN / "crossray"), "pretrain", "recipe.yaml", "--out", out]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "3"}
    with (folder / f"{out}.txt").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def steps_of(run: Path) -> int:
    log = run / "metrics.jsonl"
    return log.read_bytes().count(b'"kind": "train"') if log.is_file() else 0


def process_of(agent: int, rank: int) -> int:
    """The process id of a rank that a launcher has started."""
    tasks = Path(f"/proc/{agent}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    named = f"RANK={rank}".encode()
    (found,) = (child for child in children if named in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"))
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a recipe, and in ``undisturbed`` the run of two processes that were left alone."""
    folder = tmp_path_factory.mktemp("elastic")
    phantom_store(folder)
    recipe = small_recipe(
        folder, training={"epochs": STEPS // 4}, runtime={"checkpoint_every_steps": 3, "timeout_seconds": 30.0}
    )
    (folder / "recipe.yaml").write_text(recipe_text(recipe))
    assert torchrun(folder, "undisturbed").wait(PATIENCE_SECONDS) == 0
    return folder


@pytest.mark.parametrize(("number", "told"), [(signal.SIGKILL, "lost the others"), (signal.SIGSTOP, "process 2 (host")])
def test_a_run_goes_on_by_itself_to_the_same_bytes(prepared: Path, number: signal.Signals, told: str) -> None:
    agent = torchrun(prepared, number.name)
    run = prepared / number.name
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while steps_of(run) < STRUCK_AT and agent.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process_of(agent.pid, 1), number)
        assert agent.wait(PATIENCE_SECONDS) == 0
    finally:
        agent.kill()
    said = (prepared / f"{number.name}.txt").read_text()
    assert told in said
    assert "goes on from the last checkpoint" in said
    for kind in ("train", "validation"):
        assert figures_of(run, kind) == figures_of(prepared / "undisturbed", kind)
    assert steps_of(run) == STEPS
    for name in ("state", "best", "last"):
        file = f"checkpoints/{name}.safetensors"
        assert (run / file).read_bytes() == (prepared / "undisturbed" / file).read_bytes(), name
