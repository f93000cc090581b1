"""The protocols that ship with crossray, and suites of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Any, get_args

from crossray.errors import ConfigError
from crossray.evaluation.localized.protocol import LocalizedProtocol, Preset
from crossray.evaluation.protocol import Task
from crossray.settings import Settings, apply_overrides, build_settings, read_yaml

_PROTOCOLS = files("crossray.evaluation.localized") / "protocols"


def protocol_ids() -> tuple[str, ...]:
    """Every id, sorted."""
    names = (entry.name for entry in _PROTOCOLS.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


class Suite(Settings):
    """What belongs to a name.

    Attributes:
        protocols: localized ones, in the order of tables.
        tasks: of ``crossray evaluate``, on the test side of the run's own store.
        split: name of the split that the run must have been trained on for these tasks; any, if ``None``.
    """

    protocols: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    split: str | None = None


@cache
def suites() -> dict[str, Suite]:
    """Every suite by its name."""
    with as_file(files("crossray.evaluation.localized") / "suites.yaml") as file:
        return {name: build_settings(Suite, content, file=file.name) for name, content in read_yaml(file).items()}


def find_suite(name: str) -> Suite:
    """The suite of a name, or of one protocol's id.

    Raises:
        ConfigError: there is neither.
    """
    found = suites().get(name) or (Suite(protocols=(name,)) if name in protocol_ids() else None)
    if found is None:
        raise ConfigError(
            f"there is no suite or protocol '{name}'.",
            remedy=f"Suites are {', '.join(suites())}; protocols are {', '.join(protocol_ids())}.",
        )
    return found


def read_protocol(name: str, preset: str = "clean", changes: Sequence[str] = ()) -> LocalizedProtocol:
    """A protocol by its id.

    Args:
        name: its id.
        preset: ``legacy`` brings the published defects back.
        changes: ``key=value`` over its file, such as ``schedule.max_epochs=2``.

    Raises:
        ConfigError: there is no such protocol or preset, or a change does not fit it.
    """
    if preset not in get_args(Preset):
        raise ConfigError(f"'{preset}' is neither clean nor legacy.", field="preset")
    if name not in protocol_ids():
        raise ConfigError(
            f"there is no protocol '{name}'.",
            remedy=f"Suites are {', '.join(suites())}; protocols are {', '.join(protocol_ids())}.",
        )
    with as_file(_PROTOCOLS / f"{name}.yaml") as file:
        content = read_yaml(file)
        changes = (*_recipe(content, changes), *changes)
        protocol = build_settings(LocalizedProtocol, apply_overrides(content, changes), file=file.name)
    return protocol.as_legacy() if "legacy" in (preset, protocol.preset) else protocol


def _recipe(content: Mapping[str, Any], changes: Sequence[str]) -> list[str]:
    """What a protocol's recipe changes, as ``key=value``; asked for in the protocol's file or in ``changes``."""
    name = apply_overrides(content, changes).get("recipe")
    if not name:
        return []
    with as_file(files("crossray.evaluation.localized") / "recipes.yaml") as file:
        known: dict[str, str] = read_yaml(file).get(content["paper"], {}).get(content["source"], {})
    if name not in known:
        raise ConfigError(
            f"protocol '{content['id']}' has no recipe '{name}'.",
            field="recipe",
            remedy=f"It has {', '.join(known) or 'none'}.",
        )
    return known[name].split()


def protocols_of(suite: str, preset: str = "clean", changes: Sequence[str] = ()) -> list[LocalizedProtocol]:
    """The localized protocols of a suite, or of one id.

    Raises:
        ConfigError: there is no such suite, it has none, or as :func:`read_protocol`.
    """
    found = find_suite(suite).protocols
    if not found:
        raise ConfigError(f"suite '{suite}' trains no head.", remedy=f"Use crossray evaluate RUN --suite {suite}.")
    return [read_protocol(name, preset, changes) for name in found]
