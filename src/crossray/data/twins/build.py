"""A layout twin by its name, which is the name of the source that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from crossray.data.sources.expected import ExpectedCounts, TwinRecord, write_twin_record
from crossray.data.twins import (
    chexpert,
    chexphoto,
    covid_cxr,
    covid_rural,
    kermany_pneumonia,
    mhh_covid,
    mimic_cxr,
    ms_cxr,
    nih_cxr14,
    nih_cxr14_sample,
    object_cxr,
    rsna_pneumonia,
    siim_acr,
    vindr_cxr,
)
from crossray.data.twins.material import TwinConfig
from crossray.errors import ConfigError, DataError
from crossray.files import explained_disk_errors

TwinWriter = Callable[[Path, TwinConfig], ExpectedCounts]

_WRITERS: Mapping[str, TwinWriter] = {
    "mimic_cxr": mimic_cxr.write_twin,
    "chexpert": chexpert.write_twin,
    "chexphoto": chexphoto.write_twin,
    "nih_cxr14": nih_cxr14.write_twin,
    "rsna_pneumonia": rsna_pneumonia.write_twin,
    "siim_acr": siim_acr.write_twin,
    "covid_rural": covid_rural.write_twin,
    "object_cxr": object_cxr.write_twin,
    "vindr_cxr": vindr_cxr.write_twin,
    "ms_cxr": ms_cxr.write_twin,
    "covid_cxr": covid_cxr.write_twin,
    "mhh_covid": mhh_covid.write_twin,
    "kermany_pneumonia": kermany_pneumonia.write_twin,
    "nih_cxr14_sample": nih_cxr14_sample.write_twin,
}
TWIN_NAMES = tuple(_WRITERS)


def write_twin(name: str, out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the layout twin ``name`` and its own file into the folder ``out``.

    Returns:
        What the twin holds; its file says the same, for ``expected_counts=twin``.

    Raises:
        ConfigError: there is no such twin.
        DataError: the folder is not empty or cannot be written to.
    """
    if name not in _WRITERS:
        raise ConfigError(f"there is no twin '{name}'.", remedy=f"Twins are: {', '.join(TWIN_NAMES)}.")
    with explained_disk_errors(DataError, out):
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise DataError("is not empty: a twin is written into a folder of its own.", file=out)
        expected = _WRITERS[name](out, config)
        # Last, so that a twin that was stopped half-way is not taken for a whole one.
        write_twin_record(out, TwinRecord(name=name, count=config.count, seed=config.seed, expected=expected))
    return expected
