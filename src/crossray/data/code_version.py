"""A hash of the code that decides what a store holds, so that a store made by other rules is noticed as stale."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable

import crossray

#: Files of ``crossray/data`` that read stores or serve training: changing them changes no store.
_WITHOUT_INFLUENCE = frozenset(
    {
        "augment.py",
        "batch.py",
        "code_version.py",
        "contact_sheet.py",
        "describe.py",
        "dicom_manifest.py",
        "dicom_scan.py",
        "pairs.py",
        "progress.py",
        "pool.py",
        "publish.py",
        "publisher_split.py",
        "randomness.py",
        "report_export.py",
        "iu_protocols.py",
        "lovt_lists.py",
        "split_files.py",
        "split_report.py",
        "split_table.py",
        "splits.py",
        "store.py",
        "stratify.py",
        "template.py",
        "tokens.py",
        "twins",
        "verify.py",
        "protocols",
    }
)


def preparation_code(source: str) -> str:
    """Version of crossray and a hash over the modules and pattern files that preparation of a source uses."""
    digest = hashlib.sha256()
    _add(files("crossray.data"), _WITHOUT_INFLUENCE | ({"phantom"} - {source}), digest)
    return f"{crossray.__version__}+{digest.hexdigest()[:16]}"


def _add(folder: Traversable, passed_over: frozenset[str], digest: hashlib._Hash) -> None:
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name in passed_over or entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _add(entry, passed_over, digest)
        elif entry.name.endswith((".py", ".yaml")):
            digest.update(f"{entry.name}\n".encode())
            digest.update(entry.read_bytes())
