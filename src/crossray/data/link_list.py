"""The list that leads from pseudonyms back to ids, for those who hold the key."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from crossray.data.pseudonyms import Kind, PseudonymKey
from crossray.data.sources.base import Source
from crossray.data.store_manifest import read_manifest
from crossray.data.study import Study
from crossray.errors import ConfigError, DataError
from crossray.files import explained_disk_errors, write_whole

LINK_COLUMNS = ("kind", "original", "pseudonym")


def write_link_list(source: Source, key: PseudonymKey, store: Path, out: Path) -> int:
    """Write every id of a source, left-out studies included, beside its pseudonym; returns how many.

    Raises:
        ConfigError: the store's ids were not hashed with this key, or the list would lie in the store.
        DataError: the list cannot be written.
    """
    if read_manifest(store).inputs.pseudonym_key != key.id:
        raise ConfigError("the ids of this store were not hashed with this key.", file=store, field="--key-file")
    if out.resolve().is_relative_to(store.resolve()):
        raise ConfigError("would lie in the store: whoever gets the store gets the ids.", file=out, field="--out")
    links: dict[tuple[Kind, str], None] = {}
    for item in source.studies():
        links["study", item.study_id] = None
        if not isinstance(item, Study):
            links["film", item.film_id or ""] = None
            continue
        links["patient", item.patient_id or ""] = None
        links.update({("film", film.film_id): None for film in item.films})
    rows = [(kind, original, key.pseudonym(kind, original)) for kind, original in links if original]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([LINK_COLUMNS, *rows])
    with explained_disk_errors(DataError, out):
        write_whole(out, buffer.getvalue())
    return len(rows)
