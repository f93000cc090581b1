"""From a film to the prepared square and back: the one place where pixels change their coordinates.

Three grids, each with continuous coordinates (x to the right, y downwards, pixel ``i`` covers ``[i, i + 1)``):

* *original*: the film as acquired; boxes, masks and heat maps are told to people in its pixels;
* *file*: the pixels that the file holds; differs from the original where a publisher squeezed the film;
* *prepared*: a square of ``prepared_size``; the film with its true shape, long side filling the square,
  centred, zeros around it.

What a model saw is a :class:`CropWindow` of the prepared square.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossray.data.resample import nearest_indices, resample, sampling_weights
from crossray.data.study import Box
from crossray.errors import StudyError

#: Longest side that a film may claim, in pixels: DICOM's Rows and Columns are 16-bit numbers.
LONGEST_SIDE = 65_535


@dataclass(frozen=True, slots=True)
class CropWindow:
    """The square window of the prepared film that a model saw, in prepared pixels; it may leave the square."""

    x0: float
    y0: float
    size: float

    @classmethod
    def whole(cls, prepared_size: int) -> CropWindow:
        """The window that shows the whole prepared square."""
        return cls(0.0, 0.0, float(prepared_size))

    @classmethod
    def centred(cls, prepared_size: int, size: int) -> CropWindow:
        """The window that a centre crop of ``size`` pixels shows (on a whole pixel, as the crop itself is)."""
        offset = float((prepared_size - size) // 2)
        return cls(offset, offset, float(size))


@dataclass(frozen=True, slots=True)
class FilmGeometry:
    """The mapping between original film, its file and the prepared square.

    Args:
        original_height, original_width: shape of the film as acquired, in pixels.
        file_height, file_width: shape of the pixels in the file.
        prepared_size: side of the prepared square.

    Raises:
        StudyError: a side is not between 1 and :data:`LONGEST_SIDE`.
    """

    original_height: int
    original_width: int
    file_height: int
    file_width: int
    prepared_size: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 1 <= value <= LONGEST_SIDE:
                raise StudyError(f"{value} is not a size of a film (1 to {LONGEST_SIDE} pixels).", field=name)

    @property
    def content_height(self) -> int:
        """Rows of the prepared square that show the film."""
        return self._content_side(self.original_height)

    @property
    def content_width(self) -> int:
        """Columns of the prepared square that show the film."""
        return self._content_side(self.original_width)

    def _content_side(self, side: int) -> int:
        return max(1, round(side * self.prepared_size / max(self.original_height, self.original_width)))

    def content_box(self) -> tuple[int, int, int, int]:
        """``(x0, y0, x1, y1)``: the part of the prepared square that shows the film; the rest is padding."""
        x0 = (self.prepared_size - self.content_width) // 2
        y0 = (self.prepared_size - self.content_height) // 2
        return x0, y0, x0 + self.content_width, y0 + self.content_height

    def to_prepared(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points ``[..., 2]`` of the original film, on the prepared square."""
        return np.asarray(xy, dtype=np.float64) * self._scale() + self._offset()

    def to_original(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points ``[..., 2]`` of the prepared square, on the original film (the padding lies outside it)."""
        return (np.asarray(xy, dtype=np.float64) - self._offset()) / self._scale()

    def file_to_original(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points ``[..., 2]`` of the file's pixels, on the original film: the squeeze undone."""
        return np.asarray(xy, dtype=np.float64) / self._squeeze()

    def original_to_file(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points ``[..., 2]`` of the original film, on the file's pixels."""
        return np.asarray(xy, dtype=np.float64) * self._squeeze()

    def boxes_to_prepared(self, boxes: Sequence[Box]) -> tuple[Box, ...]:
        """Boxes of the original film, on the prepared square."""
        return tuple(_map_box(box, self.to_prepared) for box in boxes)

    def boxes_to_original(self, boxes: Sequence[Box]) -> tuple[Box, ...]:
        """Boxes of the prepared square, on the original film; not clipped (see :meth:`clip_to_film`)."""
        return tuple(_map_box(box, self.to_original) for box in boxes)

    def clip_to_film(self, box: Box) -> Box | None:
        """The part of an original-film box that lies on the film; ``None`` if nothing does."""
        x_min, x_max = max(box.x_min, 0.0), min(box.x_max, float(self.original_width))
        y_min, y_max = max(box.y_min, 0.0), min(box.y_max, float(self.original_height))
        if x_min >= x_max or y_min >= y_max:
            return None
        return replace(box, x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)

    def region_box(self, row: int, col: int, grid: tuple[int, int], crop: CropWindow) -> Box:
        """What region ``(row, col)`` of a model's ``grid`` (rows, columns) shows, in original pixels.

        The box is not clipped: a region over the padding lies partly or wholly outside the film.
        """
        rows, columns = grid
        step_x, step_y = crop.size / columns, crop.size / rows
        x0, y0 = crop.x0 + col * step_x, crop.y0 + row * step_y
        return _map_box(Box("", x0, y0, x0 + step_x, y0 + step_y), self.to_original)

    def regions_on_film(self, grid: tuple[int, int], crop: CropWindow) -> NDArray[np.bool_]:
        """``[rows, columns]`` bool: True where a region of the grid shows any of the film, False for mere padding."""
        rows, columns = grid
        x0, y0, x1, y1 = self.content_box()
        left = crop.x0 + np.arange(columns) * crop.size / columns
        top = crop.y0 + np.arange(rows) * crop.size / rows
        across = (left < x1) & (left + crop.size / columns > x0)
        down = (top < y1) & (top + crop.size / rows > y0)
        on_film: NDArray[np.bool_] = down[:, None] & across[None, :]
        return on_film

    def map_to_original(
        self, heat: NDArray[np.floating], crop: CropWindow, outside: float = 0.0
    ) -> NDArray[np.float32]:
        """A heat map ``[h, w]`` over what the model saw, on the original film.

        Each value stands at the centre of its region; between centres it is interpolated (bilinear), beyond the
        outermost centres it is continued. Film that the crop left out gets ``outside``.

        Returns:
            ``[original_height, original_width]`` float32.
        """
        rows, columns = heat.shape
        y = self.to_prepared(_diagonal(self.original_height))[:, 1]
        x = self.to_prepared(_diagonal(self.original_width))[:, 0]
        down = sampling_weights((y - crop.y0) * rows / crop.size, rows)
        across = sampling_weights((x - crop.x0) * columns / crop.size, columns)
        full: NDArray[np.float32] = down @ (across @ heat.T.astype(np.float32)).T
        seen_y = (y >= crop.y0) & (y <= crop.y0 + crop.size)
        seen_x = (x >= crop.x0) & (x <= crop.x0 + crop.size)
        full[~seen_y] = outside
        full[:, ~seen_x] = outside
        return full

    def _scale(self) -> NDArray[np.float64]:
        # Per axis: the content is a whole number of pixels, so the two factors may differ in the last digits.
        return np.array([self.content_width / self.original_width, self.content_height / self.original_height])

    def _offset(self) -> NDArray[np.float64]:
        x0, y0, _, _ = self.content_box()
        return np.array([x0, y0], dtype=np.float64)

    def _squeeze(self) -> NDArray[np.float64]:
        return np.array([self.file_width / self.original_width, self.file_height / self.original_height])


def film_geometry(
    pixels: NDArray[np.uint8],
    prepared_size: int,
    original_height: int | None = None,
    original_width: int | None = None,
) -> FilmGeometry:
    """The mapping for the pixels ``[height, width]`` of a file; without an original shape the file has the true one.

    Raises:
        StudyError: the pixels are not ``[height, width]`` uint8, or only one side of the original shape is known.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise StudyError(f"pixels of shape {pixels.shape} and type {pixels.dtype} are not one grey 8-bit film.")
    if (original_height is None) != (original_width is None):
        raise StudyError(
            "only one of original_height and original_width is given.",
            remedy="Give both, or neither if the file has the film's true shape.",
        )
    height, width = pixels.shape
    if original_height is None or original_width is None:
        original_height, original_width = height, width
    return FilmGeometry(original_height, original_width, height, width, prepared_size)


def prepare_film(
    pixels: NDArray[np.uint8],
    prepared_size: int,
    original_height: int | None = None,
    original_width: int | None = None,
) -> tuple[NDArray[np.uint8], FilmGeometry]:
    """Undo the squeeze, bring the long side to ``prepared_size``, centre on zeros.

    Squeeze and resize are one resampling: area average where an axis shrinks, bilinear where it grows.

    Args:
        pixels: ``[file_height, file_width]`` uint8.

    Returns:
        The prepared film ``[prepared_size, prepared_size]`` uint8, and the mapping.

    Raises:
        StudyError: as :func:`film_geometry`.
    """
    geometry = film_geometry(pixels, prepared_size, original_height, original_width)
    x0, y0, x1, y1 = geometry.content_box()
    prepared = np.zeros((prepared_size, prepared_size), dtype=np.uint8)
    prepared[y0:y1, x0:x1] = resample(pixels, geometry.content_height, geometry.content_width)
    return prepared, geometry


def prepare_mask(mask: NDArray[np.uint8], geometry: FilmGeometry) -> NDArray[np.uint8]:
    """A mask ``[file_height, file_width]`` on the prepared square, nearest pixel, 0 in the padding.

    Raises:
        StudyError: the mask has another size than the film's file.
    """
    expected = (geometry.file_height, geometry.file_width)
    if mask.shape != expected:
        raise StudyError(f"the mask is {_size(mask.shape)} pixels, the film {_size(expected)} (height x width).")
    x0, y0, x1, y1 = geometry.content_box()
    rows = nearest_indices(geometry.file_height, geometry.content_height)
    columns = nearest_indices(geometry.file_width, geometry.content_width)
    prepared = np.zeros((geometry.prepared_size, geometry.prepared_size), dtype=np.uint8)
    prepared[y0:y1, x0:x1] = mask[np.ix_(rows, columns)]
    return prepared


def _map_box(box: Box, mapping: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Box:
    corners = mapping(np.array([[box.x_min, box.y_min], [box.x_max, box.y_max]]))
    (x_min, y_min), (x_max, y_max) = corners.tolist()
    return replace(box, x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)


def _diagonal(side: int) -> NDArray[np.float64]:
    # The axes are mapped independently: points on the diagonal carry the pixel centres of either one.
    centres = np.arange(side, dtype=np.float64) + 0.5
    return np.stack([centres, centres], axis=1)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
