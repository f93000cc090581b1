"""A hash of the code that decides what a store holds, so that a store made by other rules is noticed as stale."""

from __future__ import annotations

from importlib.resources import files

from crossray.versions import code_version

#: Files of ``crossray/data`` that read stores or serve training: changing them changes no store.
_WITHOUT_INFLUENCE = frozenset(
    {
        "augment.py",
        "batch.py",
        "benchx_lists.py",
        "block_order.py",
        "code_version.py",
        "contact_sheet.py",
        "describe.py",
        "dicom_manifest.py",
        "dicom_scan.py",
        "export_walk.py",
        "pairs.py",
        "progress.py",
        "pool.py",
        "publish.py",
        "publisher_split.py",
        "randomness.py",
        "report_export.py",
        "sampling.py",
        "film_table.py",
        "iu_protocols.py",
        "key_hints.py",
        "licences.py",
        "lovt_lists.py",
        "split_files.py",
        "split_report.py",
        "split_table.py",
        "splits.py",
        "store.py",
        "store_values.py",
        "store_tables.py",
        "stratify.py",
        "streaming",
        "template.py",
        "text_column.py",
        "tokens.py",
        "twins",
        "verify.py",
        "worker_deaths.py",
        "protocols",
    }
)


def preparation_code(source: str) -> str:
    """Version of crossray and a hash over the modules and pattern files that preparation of a source uses."""
    return code_version(files("crossray.data"), _WITHOUT_INFLUENCE | ({"phantom"} - {source}))
