"""From the values stored in a radiograph to grey levels: modality, value of interest, presentation (PS3.3 C.11).

A film stores at most 65,536 different values, so the whole pipeline is worked out once per value, in float64, as one
table that the pixels then look up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from scipy.special import expit

from crossray.data.dicom_file import numbers_of, text_of
from crossray.errors import StudyError
from crossray.settings import Settings

Values = NDArray[np.float64]

_ROWS_AT_ONCE = 64
_FULL = "Set the display option voi to full_range to do without the header's window, or correct the header."


class DicomDisplay(Settings):
    """How a DICOM film's values become grey levels where its header leaves a choice.

    Attributes:
        voi: ``header`` follows the header's VOI LUT or window (a LUT before a window, as viewers do);
            ``full_range`` ignores both and stretches the film's own range.
        voi_index: which of several VOI LUTs or windows; the first is the one that the maker put first.
    """

    voi: Literal["header", "full_range"] = "header"
    voi_index: int = 0


@dataclass(frozen=True)
class _LookupTable:
    first: float
    entries: Values
    largest: float

    def __call__(self, values: Values) -> Values:
        index = np.clip(np.floor(values - self.first), 0, len(self.entries) - 1).astype(np.int64)
        return self.entries[index]


def display_pixels(
    stored: NDArray[np.integer], dataset: Dataset, path: Path, display: DicomDisplay
) -> NDArray[np.uint8]:
    """Stored values ``[height, width]`` as grey levels, bone bright.

    Pixels of the header's padding value (or range) become 0 and take no part in any stretch. Without a VOI LUT or
    window, 8-bit values without rescale are shown as they are, all others from their smallest to their largest.

    Raises:
        StudyError: an attribute of the header makes no sense, with its name.
    """
    padding = _padding(stored, dataset, path)
    seen = stored if padding is None or padding.all() else stored[~padding]
    lowest, highest = int(seen.min()), int(seen.max())
    levels = np.arange(lowest, highest + 1, dtype=np.float64)
    shown = _shown(levels, dataset, path, display)
    if _is_inverted(dataset):
        shown = 1.0 - shown
    table = np.rint(shown * 255.0).astype(np.uint8)
    pixels = np.empty(stored.shape, dtype=np.uint8)
    for start in range(0, len(stored), _ROWS_AT_ONCE):  # an index of eight bytes a pixel: not of a whole large film
        rows = slice(start, start + _ROWS_AT_ONCE)
        pixels[rows] = table[np.clip(stored[rows], lowest, highest).astype(np.int64) - lowest]
    if padding is not None:
        pixels[padding] = 0
    return pixels


def _shown(levels: Values, dataset: Dataset, path: Path, display: DicomDisplay) -> Values:
    values = _modality(levels, dataset, path)
    if display.voi == "header":
        if dataset.get("VOILUTSequence"):
            table = _lookup_table(_item(dataset, "VOILUTSequence", display.voi_index, path), dataset, path)
            return np.clip(table(values) / table.largest, 0.0, 1.0)
        centres = numbers_of(dataset, "WindowCenter", path)
        widths = numbers_of(dataset, "WindowWidth", path)
        if centres or widths:
            return _windowed(values, *_window(centres, widths, display.voi_index, path), dataset, path)
    whole_range = dataset.get("BitsStored") == 8 and values is levels and levels[0] >= 0 and levels[-1] <= 255
    if whole_range and display.voi == "header":
        return levels / 255.0
    smallest, largest = float(values.min()), float(values.max())
    return (values - smallest) / max(largest - smallest, 1e-12)


def _modality(levels: Values, dataset: Dataset, path: Path) -> Values:
    if dataset.get("ModalityLUTSequence"):
        return _lookup_table(_item(dataset, "ModalityLUTSequence", 0, path), dataset, path)(levels)
    slope = (*numbers_of(dataset, "RescaleSlope", path), 1.0)[0]
    intercept = (*numbers_of(dataset, "RescaleIntercept", path), 0.0)[0]
    if slope == 0.0:
        raise StudyError("is 0: every pixel would be the same.", file=path, field="RescaleSlope")
    return levels if (slope, intercept) == (1.0, 0.0) else levels * slope + intercept


def _window(centres: tuple[float, ...], widths: tuple[float, ...], index: int, path: Path) -> tuple[float, float]:
    if len(centres) != len(widths):
        raise StudyError(
            f"{len(centres)} values, but WindowWidth has {len(widths)}.", file=path, field="WindowCenter", remedy=_FULL
        )
    if not 0 <= index < len(centres):
        raise StudyError(f"window {index} asked for, {len(centres)} given.", file=path, field="WindowCenter")
    return centres[index], widths[index]


def _windowed(values: Values, centre: float, width: float, dataset: Dataset, path: Path) -> Values:
    function = text_of(dataset, "VOILUTFunction").upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise StudyError(f"'{function}' is unknown.", file=path, field="VOILUTFunction", remedy=_FULL)
    if width < 1 if function == "LINEAR" else width <= 0:
        raise StudyError(f"{width} is too small for {function}.", file=path, field="WindowWidth", remedy=_FULL)
    if function == "SIGMOID":
        return np.asarray(expit(4.0 * (values - centre) / width), dtype=np.float64)
    if (
        function == "LINEAR"
    ):  # PS3.3 C.11.2.1.2.1: the window runs from the middle of its first to that of its last value
        centre, width = centre - 0.5, width - 1.0
    if width == 0.0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


def _is_inverted(dataset: Dataset) -> bool:
    # The two say the same thing in a digital X-ray (PS3.3 C.8.11.3.1.2 asks for INVERSE with MONOCHROME1): invert once.
    monochrome1 = text_of(dataset, "PhotometricInterpretation").upper() == "MONOCHROME1"
    return monochrome1 or text_of(dataset, "PresentationLUTShape").upper() == "INVERSE"


def _padding(stored: NDArray[np.integer], dataset: Dataset, path: Path) -> NDArray[np.bool_] | None:
    values = numbers_of(dataset, "PixelPaddingValue", path)
    if not values:
        return None
    limit = (*numbers_of(dataset, "PixelPaddingRangeLimit", path), values[0])[0]
    low, high = sorted((values[0], limit))
    padding: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return padding


def _item(dataset: Dataset, keyword: str, index: int, path: Path) -> Dataset:
    items: list[Dataset] = list(dataset[keyword].value)
    if not 0 <= index < len(items):
        raise StudyError(f"item {index} asked for, {len(items)} given.", file=path, field=keyword)
    return items[index]


def _lookup_table(item: Dataset, dataset: Dataset, path: Path) -> _LookupTable:
    descriptor = numbers_of(item, "LUTDescriptor", path)
    if len(descriptor) != 3 or not 1 <= descriptor[2] <= 16:
        raise StudyError(f"{descriptor} makes no sense.", file=path, field="LUTDescriptor", remedy=_FULL)
    count = int(descriptor[0]) or 65_536  # 16 bits cannot say 65,536: it is written as 0
    data = item.get("LUTData")
    if isinstance(data, bytes):
        order = ">" if dataset.original_encoding[1] is False else "<"
        kind = np.dtype(np.uint8) if len(data) < 2 * count else np.dtype(f"{order}u2")
        entries = np.frombuffer(data[: count * kind.itemsize], dtype=kind).astype(np.float64)
    else:
        entries = np.atleast_1d(np.asarray(numbers_of(item, "LUTData", path), dtype=np.float64))[:count]
    if len(entries) != count:
        raise StudyError(f"{len(entries)} entries, the descriptor says {count}.", file=path, field="LUTData")
    return _LookupTable(first=descriptor[1], entries=entries, largest=float(2 ** int(descriptor[2]) - 1))
