"""The rules of the house, as far as a machine can check them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "crossray"

# A room stands on the rooms of a lower storey. Two rooms on one storey do not know each other.
STOREYS: dict[str, int] = {
    "errors": 0,
    "freed_memory": 0,
    "devices": 0,
    "products": 0,
    "recipes": 0,
    "settings": 1,
    "files": 1,
    "versions": 1,
    "ownership": 2,
    "tensor_file": 2,
    "data": 3,
    "alignment": 3,
    "encoders": 4,
    "methods": 5,
    "inference": 6,
    "training": 7,
    "evaluation": 7,
    "demo": 8,
    "export": 8,
    "grid": 8,
    "environment": 8,
    "dependencies": 8,
    "verify": 8,
    "plots": 8,
    "reproduce": 8,
    "serve": 8,
    "doctor": 9,
    "cli": 10,
    "__init__": 11,  # the package itself: crossray.load imports when it is called
}

HEAVY_IN_CLI = {"torch", "transformers", "numpy", "sklearn", "matplotlib", "pyarrow", "PIL", "pydicom", "timm"}

LARGEST_FILE_BYTES = 300_000

# What would tie the repository to one machine. Joined here, so that this file does not hold the words it looks for.
MACHINE_PATHS = re.compile("|".join(("/" + "work/", "/" + "root/", "/" + "home/", r"/" + r"tmp/", "C:" + r"\\Users")))


def source_files() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    """The room a file of the package belongs to: the folder below ``crossray``, or the module's own name."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of each import below a node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def imports_at_top(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports that run when the module is imported: everything outside functions and ``if TYPE_CHECKING``."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield from imported_modules(node)


def tracked_files() -> list[Path]:
    """The files that git tracks; the test is skipped outside a git checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there are no tracked files to look at")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_room_has_its_storey() -> None:
    rooms = {room_of(file) for file in source_files()} - {"__init__"}
    assert rooms <= STOREYS.keys(), "a new room needs a place in STOREYS and a line in docs/architecture.md"


def test_rooms_stand_on_the_ones_before_them() -> None:
    wrong = []
    for file in source_files():
        room = room_of(file)
        for line, name in imported_modules(ast.parse(file.read_text(encoding="utf-8"))):
            parts = name.split(".")
            other = parts[1] if parts[0] == "crossray" and len(parts) > 1 else room
            if other != room and STOREYS.get(other, -1) >= STOREYS[room]:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_commands_import_only_typer_at_the_top() -> None:
    wrong = []
    for file in sorted((PACKAGE / "cli").rglob("*.py")):
        for line, name in imports_at_top(ast.parse(file.read_text(encoding="utf-8"))):
            if name.split(".")[0] in HEAVY_IN_CLI:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_data_does_not_import_transformers() -> None:
    for file in sorted((PACKAGE / "data").rglob("*.py")):
        names = [name for _, name in imported_modules(ast.parse(file.read_text(encoding="utf-8")))]
        assert not [name for name in names if name.split(".")[0] == "transformers"], file


def test_source_files_stay_readable() -> None:
    lengths = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8").count("\n") for file in source_files()}
    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}


def test_functions_stay_readable() -> None:
    long = []
    for file in source_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and _statement_lines(node) > 45:
                long.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert long == []


def _statement_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    own = function.end_lineno or function.lineno
    length = own - function.lineno + 1
    return length - ((docstring.end_lineno or 0) - docstring.lineno + 1 if docstring is not None else 0)


def test_no_tracked_file_is_large() -> None:
    large = {file.name: file.stat().st_size for file in tracked_files() if file.stat().st_size > LARGEST_FILE_BYTES}
    assert large == {}


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    found = []
    for file in tracked_files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {match.group()}" for match in MACHINE_PATHS.finditer(text)]
    assert found == []


def test_every_test_asserts() -> None:
    silent = []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not _asserts(node):
                silent.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert silent == []


def _asserts(function: ast.FunctionDef) -> bool:
    """Whether a test can fail on purpose: an assert, ``pytest.raises``, or a helper whose name says it checks."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call) and re.search(r"raises|warns|fail|assert|check", ast.unparse(node.func)):
            return True
    return False
