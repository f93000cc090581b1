"""Whether a source is de-identified on its way into a store, and with which key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crossray.data.pseudonyms import FoundKey, find_key
from crossray.data.sources.base import Source
from crossray.data.sources.deidentified import DeidentifiedSource
from crossray.data.splits import SIDES, Fold, SplitList
from crossray.data.store import Store
from crossray.errors import ConfigError

#: Sources of one's own patients. Published sets are de-identified by their publishers, and split lists name their ids.
_OF_ONES_OWN = frozenset({"folder"})


def deidentified(source: Source, choice: str, key_file: Path | None, store: Path) -> tuple[Source, FoundKey | None]:
    """The source as it goes into a store, and the key that it is de-identified with (``None`` if it is not).

    Args:
        source: as its publisher or the hospital ships it.
        choice: ``on``, ``off``, or ``auto``: on for ``folder``, off for published sets and the phantom.
        key_file: where the key is, or is to be made; by default see :func:`crossray.data.pseudonyms.find_key`.
        store: the store to be made.

    Raises:
        ConfigError: another choice, a key file that is not used, or a key that cannot be used.
    """
    if choice not in ("auto", "on", "off"):
        raise ConfigError(f"'{choice}' is none of auto, on, off.", field="--deidentify")
    if choice == "off" or (choice == "auto" and source.name not in _OF_ONES_OWN):
        if key_file is not None:
            raise ConfigError(
                "nothing is de-identified, so no key is used.", field="--key-file", remedy="Leave it out."
            )
        return source, None
    found = find_key(key_file, store=store)
    return DeidentifiedSource(source, found.key), found


def split_under_pseudonyms(split: SplitList, store: Store, key_file: Path | None) -> SplitList:
    """A split list by the source's own study ids, as one for a de-identified store; of any other store, as it is.

    Raises:
        ConfigError: the store's ids were hashed with another key, or the key cannot be used.
    """
    made_with, known = store.manifest.inputs.pseudonym_key, set(store.study_ids)
    if not made_with or all(study in known for fold in split.folds for study in fold.study_ids):
        return split
    found = find_key(key_file, store=store.path, make=False)
    if found.key.id != made_with:
        raise ConfigError(f"the ids of {store.path} were not hashed with the key in {found.place}.", field="--key-file")

    def hashed(study: str) -> str:
        return study if study in known else found.key.pseudonym("study", study)

    folds = (Fold(fold.name, *(tuple(map(hashed, fold.side(side))) for side in SIDES)) for fold in split.folds)
    return replace(split, folds=tuple(folds))
