"""The protocols that ship with crossray, and suites of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import get_args

from crossray.errors import ConfigError
from crossray.evaluation.localized.protocol import LocalizedProtocol, Preset
from crossray.settings import apply_overrides, build_settings, read_yaml

_PROTOCOLS = files("crossray.evaluation.localized") / "protocols"


def protocol_ids() -> tuple[str, ...]:
    """Every id, sorted."""
    names = (entry.name for entry in _PROTOCOLS.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def suites() -> dict[str, tuple[str, ...]]:
    """Name of a suite to its protocols, in the order of tables."""
    with as_file(files("crossray.evaluation.localized") / "suites.yaml") as file:
        return {name: tuple(ids) for name, ids in read_yaml(file).items()}


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
        protocol = build_settings(LocalizedProtocol, apply_overrides(read_yaml(file), changes), file=file.name)
    return protocol.as_legacy() if preset == "legacy" else protocol


def protocols_of(suite: str, preset: str = "clean", changes: Sequence[str] = ()) -> list[LocalizedProtocol]:
    """The protocols of a suite, or of one id."""
    return [read_protocol(name, preset, changes) for name in suites().get(suite, (suite,))]
