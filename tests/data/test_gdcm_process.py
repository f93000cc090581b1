"""gdcm in its own process: a film that takes it down takes nothing else down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEGLosslessSV1

from crossray.data.dicom import read_dicom
from crossray.data.gdcm_frame import FrameShape
from crossray.data.gdcm_process import CodecGaveUpError, GdcmProcess, gdcm_process
from crossray.errors import StudyError
from tests.data.dicom_writing import HEIGHT, WIDTH, grey_ramp, radiograph, ramp, write, write_compressed

SHAPE = FrameShape(str(JPEGLosslessSV1), "MONOCHROME2", HEIGHT, WIDTH, 1, 16, 12, False)


@pytest.fixture
def process() -> Iterator[GdcmProcess]:
    own = GdcmProcess()
    yield own
    own.close()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_compressed(radiograph(), JPEGLosslessSV1, tmp_path / "film.dcm")


def frame_of(film: Path) -> bytes:
    return get_frame(dcmread(film).PixelData, 0, number_of_frames=1)


def deadly(frame: bytes) -> bytes:
    """The codestream with an impossible precision in its frame header: gdcm throws, nobody catches, it aborts."""
    place = frame.index(b"\xff\xc3") + 4
    return frame[:place] + b"\xff" + frame[place + 1 :]


def test_frames_are_decoded_one_after_another(process: GdcmProcess, film: Path) -> None:
    for _ in range(3):
        assert process.decode(frame_of(film), SHAPE) == ramp(12).tobytes()


@pytest.mark.parametrize("broken", [b"", b"no codestream at all"])
def test_what_gdcm_refuses_is_an_error(broken: bytes, process: GdcmProcess, film: Path) -> None:
    with pytest.raises(CodecGaveUpError):
        process.decode(broken, SHAPE)
    assert process.is_running
    assert process.decode(frame_of(film), SHAPE) == ramp(12).tobytes()


def test_what_kills_gdcm_is_an_error_and_the_next_frame_is_read(process: GdcmProcess, film: Path) -> None:
    with pytest.raises(CodecGaveUpError):
        process.decode(deadly(frame_of(film)), SHAPE)
    assert not process.is_running, "this codestream should kill gdcm: it tests nothing otherwise"
    assert process.decode(frame_of(film), SHAPE) == ramp(12).tobytes()


def test_a_process_that_was_ended_is_started_again(process: GdcmProcess, film: Path) -> None:
    process.decode(frame_of(film), SHAPE)
    process.close()
    process.close()
    assert process.decode(frame_of(film), SHAPE) == ramp(12).tobytes()


def test_one_process_serves_all_films() -> None:
    assert gdcm_process() is gdcm_process()


def test_a_film_that_takes_gdcm_down_is_refused_by_name(film: Path, tmp_path: Path) -> None:
    dataset = dcmread(film)
    dataset.PixelData = encapsulate([deadly(frame_of(film))])
    damaged = write(dataset, tmp_path / "damaged.dcm")
    with pytest.raises(StudyError, match=r"damaged\.dcm: is damaged, .* \(the codec cannot unfold"):
        read_dicom(damaged)
    np.testing.assert_array_equal(read_dicom(film), grey_ramp())


def test_a_shape_survives_the_pipe() -> None:
    assert FrameShape.from_bytes(SHAPE.to_bytes()) == SHAPE
    assert SHAPE.decoded_bytes == HEIGHT * WIDTH * 2
