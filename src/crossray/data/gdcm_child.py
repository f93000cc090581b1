"""What runs in gdcm's own process (``python -m crossray.data.gdcm_child``): frames in, pixels out, until no more come.

gdcm's Python binding does not catch what its C++ throws: one damaged JPEG aborts the whole process, uncatchably
(tfmoraes/python-gdcm issue 34). It aborts this one, and :mod:`crossray.data.gdcm_process` starts another.
"""

from __future__ import annotations

import os
import sys
from typing import IO

from crossray.data.gdcm_frame import FrameShape, read_message, write_message


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each request (shape, then codestream) with the decoded bytes; empty if gdcm refuses them."""
    import gdcm

    gdcm.Trace.ErrorOff()
    gdcm.Trace.WarningOff()
    while (shape := read_message(requests)) is not None:
        codestream = read_message(requests)
        if codestream is None:
            return
        write_message(answers, decode(codestream, FrameShape.from_bytes(shape)))


def decode(codestream: bytes, shape: FrameShape) -> bytes:
    """The frame's pixels as gdcm lays them out: little endian, colour interleaved; empty if gdcm refuses it."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(codestream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((shape.columns, shape.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(shape.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if shape.samples > 1:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(shape.transfer_syntax)))
    bits = (shape.samples, shape.bits_allocated, shape.bits_stored, shape.bits_stored - 1, int(shape.signed))
    image.SetPixelFormat(gdcm.PixelFormat(*bits))
    decoded = image.GetBuffer()
    return decoded.encode("utf-8", "surrogateescape") if decoded else b""  # gdcm hands its bytes over as text


if __name__ == "__main__":
    # The codecs print to the C standard streams: the answers get a descriptor of their own.
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, own)
