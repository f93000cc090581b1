"""What is done to a film's file: anywhere, in its header, in its pixels, or a header that claims the impossible."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from pydicom import dcmread

Kind = Literal["dicom", "png", "jpeg"]

_HEADER_VALUES: dict[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 65535, 111),
    "Columns": (0, 1, 65535, 4000),
    "BitsAllocated": (1, 12, 32, 64),
    "BitsStored": (0, 1, 17),
    "HighBit": (0, 31),
    "SamplesPerPixel": (0, 2, 3),
    "PixelRepresentation": (1, 7),
    "NumberOfFrames": (0, 2, 10**6, -1),
    "PhotometricInterpretation": ("", "RGB", "PALETTE COLOR", "YBR_FULL", "\x00"),
    "WindowWidth": (0, -1, 1e308),
    "WindowCenter": (1e308, -1e308),
    "RescaleSlope": (0, -1, 1e300),
    "RescaleIntercept": (1e300, -1e300),
    "LossyImageCompression": ("01", "7"),
    "PlanarConfiguration": (1, 9),
    "PresentationLUTShape": ("INVERSE", "x"),
    "PixelAspectRatio": ([1, 1000], [0, 1]),
    "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "?"),
}
_BIG = (0, 1, 65_500, 2**31 - 1)


def harmed(content: bytes, kind: Kind, other: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A film's file after one harm, and where it was done: half of all are done to the pixels."""
    place = rng.choices(("pixels", "header", "anywhere", "claims"), (60, 18, 16, 6))[0]
    if place == "pixels":
        return place, _in_pixels(content, kind, other, rng)
    if place == "header":
        return place, _header_of[kind](content, rng)
    if place == "claims":
        return place, _claims(kind, rng)
    return place, _scrambled(content, 0, other, rng)


def _scrambled(content: bytes, start: int, other: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, cut out, insert, repeat, cut short or exchange what lies behind ``start``."""
    body = bytearray(content[start:])
    at = rng.randrange(max(len(body), 1))
    length = rng.choice((1, 2, 4, 16, 200))
    match rng.randrange(7):
        case 0:
            for _ in range(length):
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        case 1:
            body[at : at + length] = rng.choice((b"\0", b"\xff", b"\x7f")) * length
        case 2:
            del body[at : at + length]
        case 3:
            body[at:at] = rng.randbytes(length)
        case 4:
            body[at:at] = body[at : at + length] * rng.randrange(1, 50)
        case 5:
            del body[at:]
        case _:
            body[at:] = other[-(len(body) - at) or None :]
    return content[:start] + bytes(body)


def _in_pixels(content: bytes, kind: Kind, other: bytes, rng: random.Random) -> bytes:
    if kind == "png":
        return _in_png_pixels(content, other, rng)
    marks = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10") if kind == "dicom" else (b"\xff\xda",)
    start = max(content.rfind(mark) for mark in marks)
    # A deflated data set hides its pixels: its second half holds them.
    return _scrambled(content, start + 12 if start >= 0 else len(content) // 2, other, rng)


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 8 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG whose checksums are right, so that what is wrong with it is found later."""
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _in_png_pixels(content: bytes, other: bytes, rng: random.Random) -> bytes:
    chunks = _chunks(content)
    at = next(place for place, (name, _) in enumerate(chunks) if name == b"IDAT")
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    if rng.random() < 0.5:
        packed = _scrambled(packed, 0, other, rng)
    else:  # the rows with their filters, packed again
        packed = zlib.compress(_scrambled(zlib.decompress(packed), 0, other, rng))
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return _png([*rest[:at], (b"IDAT", packed), *rest[at:]])


def _png_header(content: bytes, rng: random.Random) -> bytes:
    chunks = _chunks(content)
    values = list(struct.unpack(">IIBBBBB", chunks[0][1]))
    field = rng.randrange(len(values))
    values[field] = rng.choice(_BIG) if field < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    extra = (
        [] if rng.random() < 0.5 else [(rng.choice((b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"gAMA")), rng.randbytes(40))]
    )
    return _png([(b"IHDR", struct.pack(">IIBBBBB", *values)), *extra, *chunks[1:]])


def _jpeg_header(content: bytes, rng: random.Random) -> bytes:
    body = bytearray(content)
    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    at = frame + rng.randrange(2, 14) if rng.random() < 0.6 else rng.randrange(2, frame)
    body[at] = rng.choice((0, 1, 8, 255, rng.randrange(256)))
    return bytes(body)


def _dicom_header(content: bytes, rng: random.Random) -> bytes:
    warnings.simplefilter("ignore")  # pydicom's, of values that are meant to be wrong
    film = dcmread(io.BytesIO(content))
    for keyword in rng.sample(sorted(_HEADER_VALUES), rng.choice((1, 1, 2, 4))):
        if rng.random() < 0.2 and keyword in film:
            delattr(film, keyword)
        else:
            setattr(film, keyword, rng.choice(_HEADER_VALUES[keyword]))
    buffer = io.BytesIO()
    film.save_as(buffer)
    return buffer.getvalue()


_header_of: dict[Kind, Callable[[bytes, random.Random], bytes]] = {
    "dicom": _dicom_header,
    "png": _png_header,
    "jpeg": _jpeg_header,
}


def _claims(kind: Kind, rng: random.Random) -> bytes:
    """Little that would unfold to much."""
    side = rng.choice((6_000, 6_300, 9_000, 60_000))
    if kind == "png":
        text = (b"zTXt", b"note\0\0" + _zeros(20_000_000))
        rows = _zeros(rng.choice((1 << 16, 1 << 22, 40_000_000)))
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
        return _png([chunks[0], text, *chunks[1:]] if rng.random() < 0.3 else chunks)
    if kind == "jpeg":
        frame = struct.pack(">HBHHB", 11, 8, min(side, 65_500), rng.choice((600, 6_000, 65_500)), 1) + b"\x01\x11\0"
        return (
            b"\xff\xd8\xff\xdb\0\x43\0"
            + bytes([1] * 64)
            + b"\xff\xc0"
            + frame
            + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
            + rng.randbytes(99)
        )
    if rng.random() < 0.5:  # sequences in sequences
        depth = rng.choice((50, 900, 5_000))
        nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * depth
        return bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0" + nested
    syntax = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1.99"
    length = b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(syntax))
    return bytes(128) + b"DICM" + length + syntax + _zeros(rng.choice((20_000_000, 300_000_000)))[2:-4]


@lru_cache
def _zeros(count: int) -> bytes:
    """So many zeros, packed by zlib (two bytes before and four after what is deflated)."""
    packer = zlib.compressobj(1)
    return (
        b"".join(packer.compress(bytes(min(1 << 20, count - at))) for at in range(0, count, 1 << 20)) + packer.flush()
    )
