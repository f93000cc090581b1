"""What the documents tell a reader to type exists: commands, options, make targets, recipes, names, links."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.training.recipe import load_recipe
from tests.documents import ROOT, Block, Command, blocks, commands, documents

# Programs other than crossray that a reader is told to type.
KNOWN_PROGRAMS = {"crossray", "make", "git", "cd", "source", "if", "pip", "python", "python3", ".ci/run", "curl"}
LAUNCHERS = {"torchrun", "srun"}


def launched(command: Command) -> Command:
    """The crossray command that a launcher starts, or the command itself."""
    if command.words[0] not in LAUNCHERS:
        return command
    return replace(command, words=command.words[command.words.index("crossray") :])


CROSSRAY_COMMANDS = [command for command in map(launched, commands()) if command.words[0] == "crossray"]
MAKE_COMMANDS = [command for command in commands() if command.words[0] == "make"]


def test_the_readme_gives_its_two_commands() -> None:
    given = [command.words for command in commands([ROOT / "README.md"])]
    assert ("make", "demo") in given
    assert ("make", "test") in given


@pytest.mark.parametrize("command", commands(), ids=str)
def test_documented_programs_are_known(command: Command) -> None:
    assert command.words[0] in KNOWN_PROGRAMS | LAUNCHERS


@pytest.mark.parametrize("command", CROSSRAY_COMMANDS, ids=str)
def test_documented_options_exist(command: Command) -> None:
    # The parser refuses an unknown command or option before --help is acted upon.
    result = CliRunner().invoke(app, [*command.words[1:], "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", MAKE_COMMANDS, ids=str)
def test_documented_make_targets_exist(command: Command) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {word for word in command.words[1:] if "=" not in word} <= targets


PRETRAIN_COMMANDS = [command for command in CROSSRAY_COMMANDS if command.words[1:2] == ("pretrain",)]


@pytest.mark.parametrize("command", PRETRAIN_COMMANDS, ids=str)
def test_documented_recipes_and_overrides_are_valid(command: Command) -> None:
    recipe = next(ROOT / word for word in command.words if word.endswith(".yaml"))
    overrides = [word for word in command.words if re.match(r"[a-z_.]+=", word)]
    assert load_recipe(recipe, overrides) is not None


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_documented_python_imports_names_that_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crossray"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_pictures_of_the_documents_are_small() -> None:
    large = [path.name for path in (ROOT / "docs").rglob("*.png") if path.stat().st_size > 250_000]
    assert large == []


def test_the_workflow_script_is_sound() -> None:
    result = subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_named_slow_test_exists() -> None:
    lines = (ROOT / ".ci" / "slow_subset.txt").read_text(encoding="utf-8").splitlines()
    named = [line.partition("::")[0] for line in lines if line.strip() and not line.startswith("#")]
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
