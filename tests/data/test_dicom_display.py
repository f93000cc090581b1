"""Stored values to grey levels: each step of PS3.3 C.11 against its formula, written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from crossray.data.dicom import read_dicom
from crossray.data.dicom_display import DicomDisplay
from crossray.errors import StudyError
from tests.data.dicom_writing import grey_ramp, radiograph, ramp, write

VALUES = ramp(12).astype(np.float64)


def shown(tmp_path: Path, values: NDArray[Any] | None = None, bits: int = 12, **attributes: Any) -> NDArray[np.uint8]:
    return read_dicom(write(radiograph(values, bits, **attributes), tmp_path / "film.dcm"))


def lookup_table(entries: list[int], first: int, bits: int, **attributes: Any) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65_536, first, bits]
    item.LUTData = entries
    item["LUTData"].VR = "US"
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def as_grey(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(share, 0, 1) * 255), dtype=np.uint8)


def test_monochrome1_is_the_inverse_of_monochrome2(tmp_path: Path) -> None:
    plain = shown(tmp_path)
    np.testing.assert_array_equal(shown(tmp_path, PhotometricInterpretation="MONOCHROME1"), 255 - plain)


def test_presentation_shape_inverse_inverts(tmp_path: Path) -> None:
    np.testing.assert_array_equal(shown(tmp_path, PresentationLUTShape="INVERSE"), 255 - shown(tmp_path))


def test_monochrome1_with_its_inverse_shape_is_inverted_once(tmp_path: Path) -> None:
    both = shown(tmp_path, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(both, 255 - shown(tmp_path))


def test_eight_bits_without_a_window_are_shown_as_they_are(tmp_path: Path) -> None:
    values = (ramp(8) // 2 + 20).astype(np.uint8)
    np.testing.assert_array_equal(shown(tmp_path, values, 8), values)


def test_deep_values_without_a_window_fill_the_grey_range(tmp_path: Path) -> None:
    dark = (ramp(12) // 8 + 300).astype(np.uint16)
    pixels = shown(tmp_path, dark)
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_a_linear_window(tmp_path: Path) -> None:
    expected = as_grey((VALUES - (2000 - 0.5)) / (1000 - 1) + 0.5)
    np.testing.assert_array_equal(shown(tmp_path, WindowCenter=2000, WindowWidth=1000), expected)


def test_a_linear_window_of_width_one_is_a_threshold(tmp_path: Path) -> None:
    pixels = shown(tmp_path, WindowCenter=2000, WindowWidth=1)
    np.testing.assert_array_equal(pixels, np.where(VALUES > 1999.5, 255, 0))


def test_a_linear_exact_window(tmp_path: Path) -> None:
    pixels = shown(tmp_path, WindowCenter=2000, WindowWidth=0.5, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(pixels, as_grey((VALUES - 2000) / 0.5 + 0.5))


def test_a_sigmoid_window(tmp_path: Path) -> None:
    pixels = shown(tmp_path, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    np.testing.assert_array_equal(pixels, as_grey(1 / (1 + np.exp(-4 * (VALUES - 2000) / 1000))))


def test_of_several_windows_the_first_is_taken_unless_another_is_asked_for(tmp_path: Path) -> None:
    first = shown(tmp_path, WindowCenter=2000, WindowWidth=1000)
    second = shown(tmp_path, WindowCenter=500, WindowWidth=100)
    path = write(radiograph(WindowCenter=[2000, 500], WindowWidth=[1000, 100]), tmp_path / "several.dcm")
    np.testing.assert_array_equal(read_dicom(path), first)
    np.testing.assert_array_equal(read_dicom(path, DicomDisplay(voi_index=1)), second)
    with pytest.raises(StudyError, match="window 2 asked for, 2 given"):
        read_dicom(path, DicomDisplay(voi_index=2))


def test_the_full_range_option_does_without_the_window(tmp_path: Path) -> None:
    path = write(radiograph(WindowCenter=2000, WindowWidth=10), tmp_path / "film.dcm")
    np.testing.assert_array_equal(read_dicom(path, DicomDisplay(voi="full_range")), grey_ramp())


def test_the_window_is_applied_after_the_rescale(tmp_path: Path) -> None:
    pixels = shown(tmp_path, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=3000, WindowWidth=2000)
    np.testing.assert_array_equal(pixels, as_grey((VALUES * 2 - 1000 - 2999.5) / 1999 + 0.5))


def test_a_negative_slope_turns_the_film(tmp_path: Path) -> None:
    pixels = shown(tmp_path, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_array_equal(pixels, as_grey((4095 - VALUES) / 4095))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_voi_table_maps_values_and_holds_its_ends(bits: int, tmp_path: Path) -> None:
    entries = [0, 2**bits // 2, 2**bits - 1]
    pixels = shown(tmp_path, VOILUTSequence=[lookup_table(entries, 2000, bits)], WindowCenter=1, WindowWidth=5)
    place = np.clip(VALUES - 2000, 0, 2).astype(int)
    np.testing.assert_array_equal(pixels, as_grey(np.array(entries)[place] / (2**bits - 1)))


def test_a_voi_table_of_packed_bytes_is_read(tmp_path: Path) -> None:
    item = lookup_table([0, 0, 0, 0], 2000, 8)
    item.LUTData = bytes([0, 60, 120, 255])
    item["LUTData"].VR = "OW"
    place = np.clip(VALUES - 2000, 0, 3).astype(int)
    expected = np.array([0, 60, 120, 255])[place]
    np.testing.assert_array_equal(shown(tmp_path, VOILUTSequence=[item]), expected)


def test_a_modality_table_comes_before_the_window(tmp_path: Path) -> None:
    entries = list(range(4095, -1, -1))
    modality = lookup_table(entries, 0, 12, ModalityLUTType="US")
    pixels = shown(tmp_path, ModalityLUTSequence=[modality], WindowCenter=2000, WindowWidth=1000)
    np.testing.assert_array_equal(pixels, as_grey((4095 - VALUES - 1999.5) / 999 + 0.5))


def test_padding_is_black_and_takes_no_part_in_the_stretch(tmp_path: Path) -> None:
    values = (ramp(12) // 4 + 1000).astype(np.uint16)
    padded = values.copy()
    padded[:, :8] = 4095
    pixels = shown(tmp_path, padded, PixelPaddingValue=4095)
    assert not pixels[:, :8].any()
    inside = values[:, 8:].astype(np.float64)
    expected = as_grey((inside - inside.min()) / (inside.max() - inside.min()))
    np.testing.assert_array_equal(pixels[:, 8:], expected)


def test_padding_is_black_on_an_inverted_film_too(tmp_path: Path) -> None:
    values = ramp(12)
    pixels = shown(tmp_path, values, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    assert pixels[0, 0] == 0
    assert pixels[0, 1] > 250


def test_a_padding_range_covers_all_its_values(tmp_path: Path) -> None:
    pixels = shown(tmp_path, PixelPaddingValue=4095, PixelPaddingRangeLimit=3500)
    np.testing.assert_array_equal(pixels[VALUES >= 3500], 0)
    assert pixels[VALUES < 3500].max() == 255


def test_signed_padding_is_recognised(tmp_path: Path) -> None:
    values = ramp(12, signed=True)
    values[:, :8] = -2048
    pixels = shown(tmp_path, values, PixelPaddingValue=-2048)
    assert not pixels[:, :8].any()


def test_a_film_of_nothing_but_padding_is_black(tmp_path: Path) -> None:
    assert not shown(tmp_path, np.full((48, 64), 7, dtype=np.uint16), PixelPaddingValue=7).any()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"WindowCenter": 5, "WindowWidth": 0}, r"field 'WindowWidth': 0.0 is too small for LINEAR.*full_range"),
        ({"WindowCenter": [5, 6], "WindowWidth": 3}, "field 'WindowCenter': 2 values, but WindowWidth has 1"),
        ({"WindowCenter": 5}, "field 'WindowCenter': 1 values, but WindowWidth has 0"),
        ({"WindowCenter": 5, "WindowWidth": -1, "VOILUTFunction": "SIGMOID"}, "too small for SIGMOID"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "'CUBIC' is unknown"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "field 'RescaleSlope': is 0"),
        ({"VOILUTSequence": [lookup_table([1, 2, 3], 0, 0)]}, "field 'LUTDescriptor'"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=message):
        shown(tmp_path, **attributes)


def test_a_table_shorter_than_it_says_is_refused(tmp_path: Path) -> None:
    item = lookup_table([1, 2, 3], 0, 12)
    item.LUTDescriptor = [4096, 0, 12]
    with pytest.raises(StudyError, match="3 entries, the descriptor says 4096"):
        shown(tmp_path, VOILUTSequence=[item])


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write(radiograph(WindowCenter="2000.", WindowWidth="1000"), tmp_path / "film.dcm")
    path.write_bytes(path.read_bytes().replace(b"2000. ", b"2k. 00"))
    with pytest.raises(StudyError, match=r"film\.dcm, field 'WindowCenter': is not a number"):
        read_dicom(path)
