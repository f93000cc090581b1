"""Processes that torchrun or SLURM started, processes that do not agree, and processes that are lost."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from crossray.errors import ConfigError, CrossRayError, LostProcessError
from crossray.training import processes as launched
from crossray.training.config import RuntimeConfig
from crossray.training.distributed import start_fabric, started_fabric
from crossray.training.processes import explained_lost_processes, processes_of, require_agreement
from crossray.training.session import TrainingParts
from tests.training.fakes import QUIET, FakeMethod, fake_fit, fake_parts, figures_of
from tests.training.processes import run_in_process, run_together
from tests.training.test_equivalence import TWENTY_STEPS

TORCHRUN = {"TORCHELASTIC_RUN_ID": "r", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}


def test_the_launcher_says_how_many_processes_there_are() -> None:
    assert processes_of(RuntimeConfig(), {}) == (1, 1)
    assert processes_of(RuntimeConfig(devices=3, nodes=2), {}) == (3, 2)
    assert processes_of(RuntimeConfig(), TORCHRUN) == (3, 2)
    assert processes_of(RuntimeConfig(devices=3, nodes=2), TORCHRUN) == (3, 2)
    assert processes_of(RuntimeConfig(), SLURM) == (4, 2)


def test_torchrun_inside_a_slurm_job_counts_and_a_shell_in_one_does_not() -> None:
    assert processes_of(RuntimeConfig(), SLURM | TORCHRUN) == (3, 2)
    assert processes_of(RuntimeConfig(devices=2), SLURM | {"SLURM_JOB_NAME": "bash"}) == (2, 1)


def test_numbers_that_do_not_fit_the_launcher_are_refused() -> None:
    with pytest.raises(ConfigError, match="asks for 8 devices on 1 nodes, torchrun started 3 on 2"):
        processes_of(RuntimeConfig(devices=8), TORCHRUN)
    with pytest.raises(ConfigError, match="torchrun started 7 processes on 3 hosts"):
        processes_of(RuntimeConfig(), TORCHRUN | {"WORLD_SIZE": "7"})
    with pytest.raises(ConfigError, match="ntasks-per-node"):
        processes_of(RuntimeConfig(), {"SLURM_NTASKS": "2"})


def test_an_error_that_is_not_of_the_network_is_left_as_it_is(tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(RuntimeError, match="out of memory"), explained_lost_processes(fabric, tmp_path, 5.0):
        raise RuntimeError("out of memory")
    with pytest.raises(dist.DistBackendError), explained_lost_processes(fabric, tmp_path, 5.0):
        raise dist.DistBackendError("a process alone has no others to lose")


SLEEP = 0


class SignalledMethod(FakeMethod):
    """Sends its own process a signal (or falls asleep) in one step, counted from 1 (0: never)."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__()
        self.left, self.number = step, number

    def before_step(self, epoch: int) -> None:
        self.left -= 1
        if self.left == 0:
            time.sleep(600) if self.number == SLEEP else os.kill(os.getpid(), self.number)


def train(
    folder: Path, processes: int, signal_at: int = 0, number: int = 0, rank: int = 1, timeout: float = 60.0
) -> None:
    """The fake run; process ``rank`` gets the signal, and the other writes down what it is told then.

    A process that is named with its id is ended, as the message says.
    """
    launched._LONGEST_ROLL_CALL_SECONDS = 2.0
    runtime = QUIET.model_copy(update={"checkpoint_every_steps": 1, "timeout_seconds": timeout})
    fabric = start_fabric(runtime, TWENTY_STEPS.precision)
    assert fabric.world_size == processes
    parts = fake_parts()
    torch.manual_seed(3)
    method = SignalledMethod(signal_at if fabric.global_rank == rank else 0, number)
    parts = TrainingParts(method, parts.training, parts.validation, parts.image)
    try:
        with explained_lost_processes(fabric, folder, timeout):
            summary = fake_fit(folder, TWENTY_STEPS, parts, runtime=runtime)
    except LostProcessError as error:
        (folder / "told.txt").write_text(str(error))
        if (named := re.search(r"process id (\d+)", str(error))) is not None:
            os.kill(int(named[1]), signal.SIGKILL)
    else:
        if summary.outcome == "interrupted":
            raise SystemExit(128 + (summary.signal or 0))


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    assert run_in_process(train, folder, 1) == 0
    return folder


def assert_one_process_ends_as(one_process: Path, folder: Path) -> None:
    assert run_in_process(train, folder, 1) == 0
    for kind in ("train", "validation"):
        one, other = figures_of(one_process, kind), figures_of(folder, kind)
        assert len(one) == {"train": 20, "validation": 5}[kind]
        assert other == pytest.approx(one, rel=1e-9)


def test_two_tasks_of_slurm_train_as_one_process(one_process: Path, tmp_path: Path) -> None:
    run_together(2, train, tmp_path, 2, launcher="slurm")
    for kind in ("train", "validation"):
        assert figures_of(tmp_path, kind) == pytest.approx(figures_of(one_process, kind), rel=1e-9)


def test_a_killed_process_is_told_and_one_process_goes_on_where_two_were(one_process: Path, tmp_path: Path) -> None:
    run_together(2, train, tmp_path, 2, 7, signal.SIGKILL, exit_codes=(0, -signal.SIGKILL))
    told = (tmp_path / "told.txt").read_text()
    assert "process 1 of 2" in told
    assert "goes on from the last checkpoint" in told
    assert len(figures_of(tmp_path, "train")) == 6
    assert_one_process_ends_as(one_process, tmp_path)


def test_a_signal_to_one_process_stops_and_saves_all(one_process: Path, tmp_path: Path) -> None:
    run_together(2, train, tmp_path, 2, 7, signal.SIGTERM, exit_codes=(128, 128 + signal.SIGTERM))
    assert len(figures_of(tmp_path, "train")) == 7
    assert_one_process_ends_as(one_process, tmp_path)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    run_together(2, train, folder, 2)
    return folder


@pytest.mark.parametrize(("number", "rank"), [(signal.SIGSTOP, 0), (SLEEP, 1)], ids=["stopped", "asleep"])
def test_a_process_that_hangs_is_named_and_after_its_end_the_run_goes_on_to_the_same_bytes(
    two_processes: Path, tmp_path: Path, number: int, rank: int
) -> None:
    codes = [0, 0]
    codes[rank] = -signal.SIGKILL
    run_together(2, train, tmp_path, 2, 7, number, rank, 5.0, exit_codes=codes)
    told = (tmp_path / "told.txt").read_text()
    assert re.search(rf"process {2 - rank} of 2 .* has lost the others: process {rank + 1} \(host .*, process id", told)
    assert ("it is stopped" if number == signal.SIGSTOP else "it lives and computes nothing: it waits") in told
    assert "did not answer for 5 seconds" in told
    assert "goes on from the last checkpoint" in told
    assert len(figures_of(tmp_path, "train")) == 6
    run_together(2, train, tmp_path, 2)
    for name in ("state", "best", "last"):
        file = f"checkpoints/{name}.safetensors"
        assert (tmp_path / file).read_bytes() == (two_processes / file).read_bytes(), name


def agree(folder: Path, identities: tuple[str, str], folders: tuple[str, str]) -> None:
    fabric = start_fabric(QUIET, "32-true")
    rank = fabric.global_rank
    try:
        with explained_lost_processes(fabric, folder, QUIET.timeout_seconds):
            require_agreement(fabric, folder / folders[rank], identities[rank])
            fabric.barrier()
    except CrossRayError as error:
        (folder / f"told-{rank}.txt").write_text(f"{type(error).__name__}: {error}")


def test_processes_with_other_data_or_another_file_system_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run_together(2, agree, tmp_path, ("a", "b"), ("run", "run"))
    assert "LostProcessError" in (tmp_path / "told-0.txt").read_text()
    assert "ConfigError: process 2 of 2" in (tmp_path / "told-1.txt").read_text()
    run_together(2, agree, tmp_path, ("a", "a"), ("run", "elsewhere"))
    assert "a file system that all hosts share" in (tmp_path / "told-1.txt").read_text()


def come_alone(folder: Path) -> None:
    if os.environ["RANK"] == "1":
        return
    try:
        start_fabric(QUIET.model_copy(update={"timeout_seconds": 2.0}), "32-true")
    except LostProcessError as error:
        (folder / "told.txt").write_text(str(error))


def test_a_process_that_waits_for_one_that_never_comes_says_so(tmp_path: Path) -> None:
    run_together(2, come_alone, tmp_path)
    assert "does not reach the other processes" in (tmp_path / "told.txt").read_text()


def leave_the_group(folder: Path, fails: bool) -> None:
    with suppress(ZeroDivisionError), started_fabric(QUIET, "32-true") as fabric:
        fabric.barrier()
        assert dist.is_initialized()
        if fails:
            raise ZeroDivisionError
    assert not dist.is_initialized()
    (folder / str(fabric.global_rank)).touch()


@pytest.mark.parametrize("fails", [False, True])
def test_the_group_of_processes_is_taken_apart_at_the_end_and_after_an_error(tmp_path: Path, fails: bool) -> None:
    run_together(2, leave_the_group, tmp_path, fails)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def keep_the_group(folder: Path) -> None:
    start_fabric(QUIET, "32-true")
    with started_fabric(QUIET, "32-true") as fabric:
        pass
    fabric.barrier()
    (folder / str(fabric.global_rank)).touch()


def test_a_group_that_was_there_before_stays(tmp_path: Path) -> None:
    run_together(2, keep_the_group, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def wait_for_the_first(folder: Path) -> None:
    runtime = QUIET.model_copy(update={"timeout_seconds": 20.0})
    with started_fabric(runtime, "32-true") as fabric, explained_lost_processes(fabric, folder, 20.0):
        if fabric.global_rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        fabric.barrier()


def lose_the_first(folder: Path) -> None:
    with pytest.raises(LostProcessError, match="has lost the others"):
        wait_for_the_first(folder)
    (folder / "told").write_text(f"group: {dist.is_initialized()}")


def test_the_group_is_taken_apart_when_a_process_is_lost(tmp_path: Path) -> None:
    run_together(2, lose_the_first, tmp_path, exit_codes=(-signal.SIGKILL, 0))
    assert (tmp_path / "told").read_text() == "group: False"
