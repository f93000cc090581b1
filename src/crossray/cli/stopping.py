"""How a command ends when it is asked to."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer


def end_on_sigterm(message: str) -> None:
    """From now on SIGTERM prints the message and unwinds: half-written files are removed. Exit code 143."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        typer.echo(f"crossray: {message}", err=True)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
