"""Pseudonyms: ids of patients, studies and films as keyed hashes, and where the key is kept.

A pseudonym is HMAC-SHA-256 of the id's kind and the id, cut to 80 bits. Without the key nobody can try out ids, however
few there are of them; with it the same id has the same pseudonym for ever, so that splits stay valid.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crossray.errors import ConfigError
from crossray.files import explained_disk_errors

#: The key itself, for machines where no file is wanted.
KEY_VARIABLE = "CROSSRAY_PSEUDONYM_KEY"

_SHORTEST_KEY = 32  # characters
_HEX_DIGITS = 20
_OTHERS = 0o007  # permissions of everybody on the machine

Kind = Literal["patient", "study", "film"]


@dataclass(frozen=True)
class PseudonymKey:
    """The secret that pseudonyms hang on. It is never printed, and no artefact holds it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """A name of the key that tells keys apart and gives nothing of them away."""
        return self._hash("key")

    def pseudonym(self, kind: Kind, original: str) -> str:
        """``kind`` and 20 hexadecimal digits. An empty id stays empty: it says nothing of anyone."""
        return f"{kind}-{self._hash(f'{kind} {original}')}" if original else ""

    def _hash(self, text: str) -> str:
        return hmac.new(self.secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:_HEX_DIGITS]


@dataclass(frozen=True)
class FoundKey:
    """A key, where it is from, and whether it was made just now."""

    key: PseudonymKey
    place: str
    made: bool = False


def default_key_file() -> Path:
    """``crossray/pseudonym.key`` in the user's configuration folder."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "crossray" / "pseudonym.key"


def find_key(key_file: Path | None = None, *, store: Path, make: bool = True) -> FoundKey:
    """The key in ``key_file``, else in the variable ``CROSSRAY_PSEUDONYM_KEY``, else in the default file.

    Args:
        key_file: the file that the user named.
        store: the store that is to be made or read: its folder must not hold the key.
        make: make the key where the file is missing, readable by its owner alone.

    Raises:
        ConfigError: the key is missing and not to be made, too short, in the store, or open to everybody.
    """
    written = os.environ.get(KEY_VARIABLE)
    if key_file is None and written:
        return FoundKey(_checked(written, f"the variable {KEY_VARIABLE}"), f"the variable {KEY_VARIABLE}")
    path = key_file or default_key_file()
    if path.resolve().is_relative_to(store.resolve()):
        raise ConfigError("is in the store: whoever gets the store gets the key.", file=path, field="--key-file")
    made = make and not path.exists()
    if made:
        _make(path)
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise ConfigError(
            f"the key cannot be read ({reason}).", file=path, remedy="Give the one that the store was made with."
        ) from error
    if os.name == "posix" and mode & _OTHERS:
        raise ConfigError("the key is open to everybody on this machine.", file=path, remedy=f"chmod 600 {path}")
    return FoundKey(_checked(text, str(path)), str(path), made)


def _checked(text: str, place: str) -> PseudonymKey:
    text = text.strip()
    if len(text) < _SHORTEST_KEY:
        raise ConfigError(
            f"{place} holds a key of {len(text)} characters: at least {_SHORTEST_KEY} are needed.",
            remedy="openssl rand -hex 32 writes one.",
        )
    return PseudonymKey(text.encode("utf-8"))


def _make(path: Path) -> None:
    """Write a new key; where another process was quicker, its key stands."""
    with explained_disk_errors(ConfigError, path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}."
        )  # readable by its owner alone
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{secrets.token_hex(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
        finally:
            Path(temporary).unlink()
