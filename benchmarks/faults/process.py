"""``crossray`` in a process of its own: forked from one that has imported everything, or begun cold."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.faults.inject import Moment, arm, kill

#: Numbers in files must not depend on the day, nor sums on the machine's cores.
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "1700000000", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: by that signal), what it printed, its processor seconds."""

    code: int
    output: str
    errors: str
    seconds: float

    @property
    def last_line(self) -> str:
        """The last message of crossray, or else of anything, on standard error."""
        lines = self.errors.strip().splitlines() or [""]
        return next((line for line in reversed(lines) if line.startswith("crossray: ")), lines[-1])

    @property
    def is_clear(self) -> bool:
        """Whether it refused with one message, as the command line does, and not with a stack trace."""
        return self.code == 2 and self.last_line.startswith("crossray: ") and "Traceback" not in self.errors


def import_everything() -> None:
    """Import what the commands use, and compute nothing: what has no threads yet can be forked."""
    for name in (
        "crossray.cli.main",
        "crossray.data.prepare",
        "crossray.data.sources.folder",
        "crossray.data.findings",
        "crossray.evaluation.evaluate",
        "crossray.evaluation.validator",
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


def crossray(words: Sequence[str], folder: Path, before: Callable[[], None] = lambda: None) -> Ended:
    """A command in a fork of this process; ``before`` is called there first, in the working directory."""
    logs = [folder.with_name(f"{folder.name}.{name}") for name in ("out", "err")]
    process = os.fork()
    if process == 0:
        _child(words, folder, before, logs)
    _, status, usage = os.wait4(process, 0)
    output, errors = (log.read_text(encoding="utf-8", errors="replace") for log in logs)
    return Ended(os.waitstatus_to_exitcode(status), output, errors, usage.ru_utime + usage.ru_stime)


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
