"""Other processes that own a folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OWN = """
import os, fcntl, pathlib, sys
from crossray.ownership import owned
if {blind}:
    fcntl.lockf = lambda *arguments: None
with owned(pathlib.Path(sys.argv[1])) as hold:
    if {writes}:
        (hold.folder / "theirs.txt").write_text("theirs")
    if {forks} and os.fork() == 0:
        os.close(1)
        sys.stdin.read()
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_owner(
    folder: Path, *, blind: bool = False, forks: bool = False, writes: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """A process that owns a folder, until its input ends or it is killed.

    Args:
        folder: which.
        blind: the process does not see the locks of others, as on some file systems of many hosts.
        forks: it has a child, which lives as long as the input is open.
        writes: the folder gets a file ``theirs.txt``.
    """
    program = [sys.executable, "-c", _OWN.format(blind=blind, forks=forks, writes=writes), str(folder)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other


def take_over(folder: Path) -> None:
    """Let another process take a folder over from its owner, and end: as after a lock was lost."""
    with another_owner(folder, blind=True):
        pass
