"""The two tables of a store, and how a study becomes rows of them and back.

``studies-*.arrow``: one row a study, its report with spans, labels, phrase regions. ``films-*.arrow``: one row a
film, prepared pixels as one binary column (uint8, row by row, ``prepared_size`` squared), the geometry that leads
back to the original film, boxes and phrase boxes in pixels of the original film, masks as PNG on the prepared square.
Both are Arrow IPC streams, which ``pyarrow.ipc.open_stream`` and the ``datasets`` library read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from crossray.data.geometry import FilmGeometry
from crossray.data.study import Box, PhraseRegion, Report, Section, SectionName, Sentence, Span, Study, View

#: Raise when a table's columns or their meaning change. Version 2 added the studies' attributes.
FORMAT_VERSION = 2

#: Stores of these versions are opened, others are refused with what to do. In version 1 no study has attributes; runs
#: are tied to the hash of their store, so a version that can still be read must be.
READABLE_VERSIONS = (1, 2)

GEOMETRY_FIELDS = ("original_height", "original_width", "file_height", "file_width", "prepared_size")

_BOX = pa.struct([("label", pa.string()), *((edge, pa.float64()) for edge in ("x_min", "y_min", "x_max", "y_max"))])
_SPAN_WITH_SECTION = pa.struct([("section", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
_ATTRIBUTES = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
_PHRASE = pa.struct(
    [
        ("film_id", pa.string()),
        ("label", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("boxes", pa.list_(_BOX)),
    ]
)

STUDY_SCHEMA = pa.schema(
    [
        ("study_id", pa.string()),
        ("patient_id", pa.string()),
        ("text", pa.string()),
        ("sections", pa.list_(_SPAN_WITH_SECTION)),
        ("sentences", pa.list_(_SPAN_WITH_SECTION)),
        ("labels", pa.list_(pa.float32())),
        ("phrase_regions", pa.list_(_PHRASE)),
        ("attributes", _ATTRIBUTES),  # sorted by name
    ]
)

FILM_SCHEMA = pa.schema(
    [
        ("film_id", pa.string()),
        ("study_id", pa.string()),
        ("study_row", pa.int32()),  # row in the studies table of the same shard
        ("view", pa.string()),
        ("pixels", pa.binary()),
        *((name, pa.int32()) for name in GEOMETRY_FIELDS),
        ("boxes", pa.list_(_BOX)),
        ("masks", pa.list_(pa.struct([("name", pa.string()), ("png", pa.binary())]))),
    ]
)


@dataclass(frozen=True)
class FilmPixelsAndTruth:
    """One film, prepared: pixels ``[S, S]`` uint8, geometry, boxes of the original film, masks ``[S, S]`` uint8."""

    film_id: str
    view: View
    pixels: NDArray[np.uint8]
    geometry: FilmGeometry
    boxes: tuple[Box, ...]
    masks: Mapping[str, NDArray[np.uint8]]


def study_schema(format_version: int) -> pa.Schema:
    """Columns of the studies table as a version of the format wrote them."""
    if format_version == 1:
        return STUDY_SCHEMA.remove(STUDY_SCHEMA.get_field_index("attributes"))
    return STUDY_SCHEMA


def with_every_column(studies: pa.Table) -> pa.Table:
    """A studies table of any readable version with the columns of :data:`STUDY_SCHEMA`; new ones are null."""
    missing = [field.name for field in STUDY_SCHEMA if field.name not in studies.schema.names]
    nulls = [pa.nulls(len(studies), STUDY_SCHEMA.field(name).type) for name in missing]
    return pa.Table.from_arrays([*studies.columns, *nulls], schema=STUDY_SCHEMA)


def study_row(study: Study, labels: list[float]) -> dict[str, Any]:
    """A study as a row of :data:`STUDY_SCHEMA`."""
    report = study.report
    return {
        "study_id": study.study_id,
        "patient_id": study.patient_id,
        "text": report.text,
        "sections": [{"section": s.name, "start": s.span.start, "end": s.span.end} for s in report.sections],
        "sentences": [{"section": s.section, "start": s.span.start, "end": s.span.end} for s in report.sentences],
        "labels": labels,
        "phrase_regions": [
            {
                "film_id": phrase.film_id,
                "label": phrase.label,
                "start": phrase.span.start,
                "end": phrase.span.end,
                "boxes": [_box_row(box) for box in phrase.boxes],
            }
            for phrase in study.phrase_regions
        ],
        "attributes": [{"name": name, "value": value} for name, value in sorted(study.attributes.items())],
    }


def film_row(film: FilmPixelsAndTruth, study_id: str, study_row_in_shard: int) -> dict[str, Any]:
    """A prepared film as a row of :data:`FILM_SCHEMA`."""
    return {
        "film_id": film.film_id,
        "study_id": study_id,
        "study_row": study_row_in_shard,
        "view": film.view,
        "pixels": film.pixels.tobytes(),
        **{name: getattr(film.geometry, name) for name in GEOMETRY_FIELDS},
        "boxes": [_box_row(box) for box in film.boxes],
        "masks": [{"name": name, "png": mask_to_png(mask)} for name, mask in sorted(film.masks.items())],
    }


def report_of(row: Mapping[str, Any]) -> Report:
    """The report of a studies row."""
    return Report(
        row["text"],
        tuple(Section(cast(SectionName, s["section"]), Span(s["start"], s["end"])) for s in row["sections"]),
        tuple(Sentence(Span(s["start"], s["end"]), cast(SectionName, s["section"])) for s in row["sentences"]),
    )


def phrase_regions_of(row: Mapping[str, Any]) -> tuple[PhraseRegion, ...]:
    """The phrase regions of a studies row."""
    return tuple(
        PhraseRegion(p["film_id"], p["label"], Span(p["start"], p["end"]), boxes_of(p["boxes"]))
        for p in row["phrase_regions"]
    )


def attributes_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The attributes of a studies row."""
    return {cell["name"]: cell["value"] for cell in row["attributes"] or ()}


def boxes_of(rows: list[Mapping[str, Any]]) -> tuple[Box, ...]:
    """Boxes of a films row."""
    return tuple(Box(**row) for row in rows)


def mask_to_png(mask: NDArray[np.uint8]) -> bytes:
    """A mask ``[S, S]`` as a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def mask_from_png(content: bytes, size: int) -> NDArray[np.uint8]:
    """A mask ``[S, S]`` uint8 from :func:`mask_to_png`.

    Raises:
        ValueError, OSError: it is none, or of another size; no pixel of it is decoded then.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if (image.size, image.mode) != ((size, size), "L"):
                raise ValueError(f"a mask is not {size} x {size} grey pixels")
            return np.array(image, dtype=np.uint8)
    except (SyntaxError, Image.DecompressionBombError) as error:  # what pillow raises beside OSError and ValueError
        raise ValueError(f"a mask is no PNG ({error})") from error


def _box_row(box: Box) -> dict[str, Any]:
    return {"label": box.label, "x_min": box.x_min, "y_min": box.y_min, "x_max": box.x_max, "y_max": box.y_max}
