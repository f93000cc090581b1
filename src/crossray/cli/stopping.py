"""How a command ends when it is asked to."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

_GOES_ON = "The same command goes on with what was finished."
_READS = "It only reads: none of your files was changed."
_BEGINS_AGAIN = "Nothing was finished: the same command begins again."
_BEGINS_EMPTY = "Nothing was finished: remove the folder that it began, and call it again."

#: What is true of a command that was stopped, by its name.
WHAT_STAYS = {
    **dict.fromkeys(("demo", "pretrain", "evaluate", "localized", "grid", "reproduce", "data prepare"), _GOES_ON),
    **dict.fromkeys(("search", "verify", "doctor", "info", "data describe", "data verify", "data audit"), _READS),
    **dict.fromkeys(("transfer", "compare", "index build", "data split", "data template"), _BEGINS_AGAIN),
    **dict.fromkeys(("data manifest", "data pseudonyms", "data class-list", "data streamable"), _BEGINS_AGAIN),
    **dict.fromkeys(("export", "data twin"), _BEGINS_EMPTY),
    "embed": "Of a store the same command goes on with the parts that were finished; of anything else it begins again.",
    "calibrate": "Folds that were finished keep their new calibration; the same command makes all of them again.",
    "data cache": "Nothing but the cache was touched: the same command removes what is left.",
    "serve": "Nothing is kept of the films that were opened.",
}

_running: list[str] = []


def now_runs(context: typer.Context) -> None:
    """A group's callback: remember which of its commands was called."""
    group = f"{context.info_name} " if context.parent else ""
    _running[:] = [f"{group}{context.invoked_subcommand}"]


def end_on_sigterm(message: str | None = None) -> None:
    """From now on SIGTERM prints the message and unwinds: half-written files are removed. Exit code 143.

    Without a message it says what is true of the command that is running.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        stays = "".join(f" {WHAT_STAYS[name]}" for name in _running)
        typer.echo(f"crossray: {message or 'stopped by SIGTERM.' + stays}", err=True)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
