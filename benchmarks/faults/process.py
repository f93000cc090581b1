"""``crossray`` in a process of its own: forked from one that has imported everything, or begun cold."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.faults.inject import Moment, arm, kill

#: Against a process that hangs; and how often it is looked at.
_PATIENCE_SECONDS, _LOOK_AGAIN_SECONDS = 600.0, 0.02
#: Numbers in files must not depend on the day, nor sums on the machine's cores.
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "1700000000", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: by that signal), what it printed, its processor seconds.

    ``unsaid`` is what its message lacks, if anything.
    """

    code: int
    output: str
    errors: str
    seconds: float
    unsaid: str = ""

    @property
    def last_line(self) -> str:
        """The last message of crossray, or else of anything, on standard error."""
        lines = self.errors.strip().splitlines() or [""]
        return next((line for line in reversed(lines) if line.startswith("crossray: ")), lines[-1])

    @property
    def is_clear(self) -> bool:
        """Whether it refused with one message, as the command line does, and not with a stack trace.

        A grid names the pieces that failed at its end, and where their errors are.
        """
        said = self.last_line.startswith("crossray: ") if self.code == 2 else "The errors: " in self.output
        return self.code in (1, 2) and said and not self.unsaid and "Traceback" not in self.errors


def _nothing() -> None:
    pass


def import_everything() -> None:
    """Import what the commands use, and compute nothing: what has no threads yet can be forked."""
    for name in (
        "crossray.cli.main",
        "crossray.data.prepare",
        "crossray.data.sources.folder",
        "crossray.data.findings",
        "crossray.data.twins.build",
        "crossray.data.sources.kermany_pneumonia",
        "crossray.evaluation.evaluate",
        "crossray.evaluation.localized.suite",
        "crossray.evaluation.transfer",
        "crossray.evaluation.validator",
        "crossray.grid.run",
        "crossray.inference.search.build",
        "crossray.inference.search.query",
        "crossray.training.pretrain",
        "crossray.verify",
        "faiss",
        "sklearn.linear_model",
        "timm",
        "transformers.models.bert.modeling_bert",
    ):
        importlib.import_module(name)
    # The small world's films are to be embedded in more than one part.
    importlib.import_module("crossray.inference.embed_store").FILMS_PER_PART = 48  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Started:
    """A process at work, and where it prints."""

    process: int
    logs: tuple[Path, Path]

    def is_stopped(self) -> bool:
        """Wait until it is stopped or ends; which of the two."""
        found = os.waitid(os.P_PID, self.process, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    def end(self) -> Ended:
        """Wait for it; one that does not end is killed."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while (found := os.wait4(self.process, os.WNOHANG))[0] == 0:
            if time.monotonic() > until:
                os.kill(self.process, signal.SIGKILL)
            time.sleep(_LOOK_AGAIN_SECONDS)
        _, status, usage = found
        output, errors = (log.read_text(encoding="utf-8", errors="replace") for log in self.logs)
        return Ended(os.waitstatus_to_exitcode(status), output, errors, usage.ru_utime + usage.ru_stime)


def crossray(words: Sequence[str], folder: Path, before: Callable[[], None] = _nothing) -> Ended:
    """A command in a fork of this process; ``before`` is called there first, in the working directory."""
    return start(words, folder, before, "").end()


def start_together(words: Sequence[str], folder: Path, before: Sequence[Callable[[], None]]) -> list[Started]:
    """A command in so many forks, which find each other as processes of torchrun do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def join(rank: int) -> None:
        number, count = str(rank), str(len(before))
        os.environ |= {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ |= {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "faults"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        before[rank]()

    return [start(words, folder, partial(join, rank), f"{rank}.") for rank in range(len(before))]


def start(words: Sequence[str], folder: Path, before: Callable[[], None], name: str) -> Started:
    """A command in a fork that is not waited for; ``name`` begins the names of its logs."""
    out, err = (folder.with_name(f"{folder.name}.{name}{stream}") for stream in ("out", "err"))
    process = os.fork()
    if process == 0:
        _child(words, folder, before, (out, err))
    return Started(process, (out, err))


def _child(words: Sequence[str], folder: Path, before: Callable[[], None], logs: Sequence[Path]) -> None:
    code = 1
    try:
        for descriptor, log in enumerate(logs, start=1):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.chdir(folder)
        before()
        code = _run(words)
    except BaseException:  # the child must end here, and not go on as a second harness
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(words: Sequence[str]) -> int:
    from crossray.cli.main import main

    sys.argv = ["crossray", *words]
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    return 0


def cold_crossray(words: Sequence[str], folder: Path, moment: Moment) -> Ended:
    """A command in a new process with nothing imported, killed at a moment."""
    command = [sys.executable, "-m", "benchmarks.faults.process", json.dumps(asdict(moment)), str(folder), *words]
    environment = {**os.environ, **ENVIRONMENT}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return Ended(run.returncode, run.stdout, run.stderr, 0.0)


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    arm(Moment(**json.loads(sys.argv[1])), kill)
    sys.exit(_run(sys.argv[3:]))
