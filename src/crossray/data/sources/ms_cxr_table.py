"""The phrases of MS-CXR as rows: its CSV table, or its JSON in the layout of COCO, whichever is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.errors import DataError

#: Names of the table in every version that came so far.
TABLE_NAMES = ("MS_CXR_Local_Alignment_v*.csv", "MS_CXR_Local_Alignment_v*.json")
BOX_COLUMNS = ("x", "y", "w", "h")
COLUMNS = ("dicom_id", "category_name", "label_text", "path", *BOX_COLUMNS, "image_width", "image_height")

_VERSION = re.compile(r"_v(\d+)\.(\d+)\.(\d+)\.")


def newest_table(root: Path) -> Path | None:
    """The table of the newest version in a folder, CSV before JSON; ``None`` if there is none."""
    for pattern in TABLE_NAMES:
        found = [(match, path) for path in root.glob(pattern) if (match := _VERSION.search(path.name))]
        if found:
            return max(found, key=lambda item: tuple(map(int, item[0].groups())))[1]
    return None


def phrase_rows(table: Path) -> Iterator[Row]:
    """Each box of each phrase as a row with :data:`COLUMNS`, and ``split`` where the version has it.

    The number of a row of a JSON file is the place of its annotation, from 1.

    Raises:
        DataError: the table cannot be read, or its layout is another.
    """
    if table.suffix == ".csv":
        yield from publisher_rows(table, COLUMNS)
        return
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in content["images"]}
        categories = {category["id"]: category["name"] for category in content["categories"]}
        for number, annotation in enumerate(content["annotations"], start=1):
            yield _row(number, annotation, images, categories)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}).", file=table) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"is not the JSON of MS-CXR ({type(error).__name__}: {error}).", file=table, remedy="Download it again."
        ) from error


def _row(number: int, annotation: Any, images: dict[Any, Any], categories: dict[Any, Any]) -> Row:
    image = images[annotation["image_id"]]
    values = [
        Path(image["file_name"]).stem,
        categories[annotation["category_id"]],
        annotation.get("label_text") or "",
        image["path"],
        *annotation["bbox"],
        image["width"],
        image["height"],
    ]
    cells = dict(zip(COLUMNS, (str(value).strip() for value in values), strict=True))
    return Row(number, cells)
