"""Freed blocks stay with the process, where the system is one that can be asked to keep them."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from crossray.freed_memory import keep_freed_memory

FAULTS = """
import resource, torch
from crossray.freed_memory import keep_freed_memory
done = {keep} and keep_freed_memory()
for step in range(24):
    if step == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(10_000_000) for _ in range(2)]
    del blocks
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, keep: bool) -> tuple[bool, int]:
    """Pages that four rounds of the same two blocks of 40 MB make the system bring, after twenty to begin with."""
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], env=environment, capture_output=True, text=True, check=True
    )
    done, faults = run.stdout.split()
    return done == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_the_same_blocks_are_not_asked_for_again() -> None:
    kept, few = page_faults(keep=True)
    assert kept
    _, many = page_faults(keep=False)
    assert many > 40_000  # 80 MB a round are 19,531 pages
    assert few < many / 10


def test_whoever_has_decided_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory()
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
