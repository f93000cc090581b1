"""``kill -9`` while a store is prepared: the next run goes on, and the result is the same to the bit."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.publish import partial_folder
from crossray.data.store import Store
from tests.data.studies import MemorySource, studies

COUNT, SECONDS = 200, 0.004
SCRIPT = """
import signal
import sys
from pathlib import Path
from crossray.data.prepare import PrepareConfig, prepare_store
from tests.data.studies import MemorySource, studies
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    source = MemorySource(studies({count}, {seconds}))
    prepare_store(source, Path(sys.argv[1]), PrepareConfig(size=16), workers=int(sys.argv[2]))
"""


def start(folder: Path, workers: int) -> subprocess.Popen[bytes]:
    # A file and not -c: spawned workers import the main script again.
    script = folder / "prepare_slowly.py"
    script.write_text(SCRIPT.format(count=COUNT, seconds=SECONDS))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, str(script), str(folder / "store"), str(workers)], env=environment)


def wait_for_progress(process: subprocess.Popen[bytes], folder: Path, shards: int) -> None:
    """Until so many shards are complete, or the process is done."""
    while process.poll() is None and len(list(folder.glob("outcome-*.json"))) < shards:
        time.sleep(0.01)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def expected(folder: Path) -> dict[str, str]:
    prepare_store(MemorySource(studies(COUNT)), folder / "straight", PrepareConfig(size=16), workers=1)
    return hashes(folder / "straight")


def kill_and_go_on(folder: Path, workers: int, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(kills):
        process = start(folder, workers)
        wait_for_progress(process, partial_folder(folder / "store"), shards=number)
        time.sleep(rng.random() * 64 * SECONDS)
        process.kill()
        process.wait()
    assert start(folder, workers).wait() == 0


def test_killed_twice_at_random_points_the_store_is_the_same_to_the_bit(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, workers=1, kills=2, seed=int(time.time()))
    assert hashes(tmp_path / "store") == expected(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_again_and_again_with_several_workers_the_store_is_the_same(tmp_path: Path, seed: int) -> None:
    kill_and_go_on(tmp_path, workers=2, kills=4, seed=seed)
    assert hashes(tmp_path / "store") == expected(tmp_path)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, workers=2)
    wait_for_progress(process, partial_folder(tmp_path / "store"), shards=1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children")
    workers = [int(pid) for pid in children.read_text().split()]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_a_write_that_the_system_refuses_leaves_the_earlier_store_whole(tmp_path: Path) -> None:
    earlier = MemorySource(studies(5), version="earlier")
    prepare_store(earlier, tmp_path / "store", PrepareConfig(size=16), workers=1)
    before = hashes(tmp_path / "store")
    limited = SCRIPT.format(count=COUNT, seconds=0).replace(
        "    source", "    import resource\n    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n    source"
    )
    (tmp_path / "limited.py").write_text(limited)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(tmp_path / "limited.py"), str(tmp_path / "store"), "1"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "StoreError" in run.stderr
    assert "cannot be written" in run.stderr
    assert hashes(tmp_path / "store") == before
    assert len(Store.open(tmp_path / "store")) == 5


def test_a_stop_by_hand_keeps_what_is_done(tmp_path: Path) -> None:
    process = start(tmp_path, workers=1)
    wait_for_progress(process, partial_folder(tmp_path / "store"), shards=1)
    process.send_signal(signal.SIGINT)
    assert process.wait() != 0
    assert (partial_folder(tmp_path / "store") / "outcome-00000.json").is_file()
