"""Configuration is types: frozen pydantic models, YAML, dotted overrides, errors that name the nearest key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from crossray.errors import ConfigError

SettingsType = TypeVar("SettingsType", bound="Settings")


class Settings(BaseModel):
    """Base of every configuration block: immutable, and an unknown key is an error.

    Attributes:
        added_later: fields that are not written while they have their default. Finished cells and results name the
            settings they were made with: those from before a field was there must still read as theirs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    added_later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_defaults_added_later(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialise(self)
        for name in self.added_later:
            if getattr(self, name) == type(self).model_fields[name].default:
                content.pop(name, None)
        return content


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping, safe-loaded.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something other than a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror}).", file=path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid YAML: {error}", file=path) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError("must hold a mapping of keys to values.", file=path)
    return content


def apply_overrides(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Lay ``section.key=value`` overrides over a configuration; values are read as YAML.

    Raises:
        ConfigError: an override has no ``=``, no key, or goes through a value that is no section.
    """
    result: dict[str, Any] = _copy(content)
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(
                f"override '{override}' is not of the form section.key=value.",
                remedy="Write for example training.epochs=5.",
            )
        *sections, last = key.strip().split(".")
        place = result
        for section in sections:
            nested = place.setdefault(section, {})
            if not isinstance(nested, dict):
                raise ConfigError(f"override '{override}': '{section}' is a value, not a section.")
            place = nested
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"override '{override}': the value is not valid YAML.") from error
    return result


def build_settings(
    kind: type[SettingsType], content: Mapping[str, Any], *, file: Path | str | None = None
) -> SettingsType:
    """A validated settings object.

    Raises:
        ConfigError: naming the file, the key, what is wrong with it and, for an unknown key, the nearest valid one.
    """
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        raise _explain(kind, error, file) from error


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return value


def _explain(kind: type[Settings], error: ValidationError, file: Path | str | None) -> ConfigError:
    first = error.errors()[0]
    location = _without_tags(kind, [str(part) for part in first["loc"]])
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        nearest = _nearest_key(kind, error, location)
        remedy = f"Did you mean '{nearest}'?" if nearest else None
        return ConfigError("is not a known key.", file=file, field=key, remedy=remedy)
    shown = repr(first.get("input"))
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return ConfigError(f"{first['msg']} (got {shown}).", file=file, field=key)


def _without_tags(kind: type[Settings], location: list[str]) -> list[str]:
    """The place as the user wrote it: pydantic names the chosen member of a union too, which is no key."""
    every_key = {key for key, _ in _keys(kind, "")}
    written: list[str] = []
    for part in location[:-1]:
        if ".".join([*written, part]) in every_key:
            written.append(part)
    return [*written, *location[-1:]]


def _nearest_key(kind: type[Settings], error: ValidationError, location: list[str]) -> str | None:
    every_key = dict(_keys(kind, ""))
    siblings = [key for key in every_key if key.split(".")[:-1] == location[:-1]]
    missing = [e["loc"] for e in error.errors() if e["type"] == "missing"]
    siblings += [".".join(str(part) for part in loc) for loc in missing]
    # By their own names: a long common path would make every sibling look close.
    names = {key.split(".")[-1]: key for key in siblings}
    close = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
    if close:
        return names[close[0]]
    by_last = difflib.get_close_matches(location[-1], [key.split(".")[-1] for key in every_key], n=1, cutoff=0.7)
    return next((key for key in every_key if key.split(".")[-1] == by_last[0]), None) if by_last else None


def _keys(kind: type[BaseModel], prefix: str) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, info in kind.model_fields.items():
        found.append((prefix + name, info.annotation))
        for nested in _models_in(info.annotation):
            found.extend(_keys(nested, f"{prefix}{name}."))
    return found


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
