"""What the decoder at arm's length says of a file that is no film: a whole sentence, with nothing of the file in it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crossray.serve.decode_child import decode
from crossray.serve.limits import UploadError
from tests.data.dicom_writing import radiograph

COLOUR = np.stack([np.full((8, 8), value, np.uint8) for value in (0, 100, 200)], axis=2)


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def dicom(**attributes: Any) -> bytes:
    buffer = io.BytesIO()
    dataset = radiograph(**attributes)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty."),
        (png(COLOUR), "The picture is in colour."),
        (png(COLOUR)[:45], "The film is damaged or cut short."),
        (dicom(NumberOfFrames=3), "The film has 3 frames."),
        (dicom(PixelData=None), "The film has no pixels. (field 'PixelData')"),
    ],
    ids=["empty", "colour", "cut", "frames", "no pixels"],
)
def test_what_is_wrong_with_an_upload_is_a_sentence(content: bytes, said: str) -> None:
    with pytest.raises(UploadError) as raised:
        decode(content, 1_000_000)
    assert said in str(raised.value)
