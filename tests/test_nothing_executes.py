"""Nothing executes from data: no call in the package can run code that a file holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.test_house import PACKAGE, source_files

#: Modules that build objects from bytes by running what these say, or that run programs through a shell.
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle"}
FORBIDDEN_CALLS = {
    "eval", "exec", "__import__", "os.system", "os.popen", "yaml.load", "yaml.load_all", "yaml.unsafe_load",
    "yaml.full_load", "torch.jit.load", "torch.hub.load", "np.fromregex", "runpy.run_path", "shutil.unpack_archive",
}  # fmt: skip
#: Arguments that must be given, as a literal: name of the call -> (argument, value).
REQUIRED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
FORBIDDEN_ARGUMENTS = {("shell", True), ("trust_remote_code", True), ("allow_pickle", True), ("weights_only", False)}

#: Read and judged: what is unpickled never was a file of a user's.
REVIEWED = {
    ("data/pool.py", "import pickle"): "a shard's job, on its way from this process to its own workers",
}


def offences(tree: ast.AST) -> Iterator[str]:
    """What of a module could run code out of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import {name}" for name in names if name.split(".")[0] in FORBIDDEN_IMPORTS)
        if isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func).replace("numpy.", "np.")
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    literals = {(key, value.value) for key, value in given.items() if isinstance(value, ast.Constant)}
    if name in FORBIDDEN_CALLS:
        yield f"{name}()"
    if name in REQUIRED and REQUIRED[name] not in literals:
        yield f"{name} without {REQUIRED[name][0]}={REQUIRED[name][1]}"
    yield from (f"{name}({key}={value!r})" for key, value in sorted(literals & FORBIDDEN_ARGUMENTS, key=str))


def test_no_call_of_the_package_can_run_code_out_of_a_file() -> None:
    found = {
        (file.relative_to(PACKAGE).as_posix(), offence)
        for file in source_files()
        for offence in offences(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == set(REVIEWED)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from joblib import load", "eval(text)", "yaml.load(file)", "torch.load(path)",
        "torch.load(path, weights_only=False)", "numpy.load(path)", "np.load(path, allow_pickle=True)",
        "subprocess.run(words, shell=True)", "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)  # fmt: skip
def test_the_walk_sees_each_of_them(code: str) -> None:
    assert list(offences(ast.parse(code)))


@pytest.mark.parametrize("code", ["model.eval()", "yaml.safe_load(x)", "torch.load(p, 'cpu', weights_only=True)"])
def test_the_walk_passes_what_is_safe(code: str) -> None:
    assert not list(offences(ast.parse(code)))
