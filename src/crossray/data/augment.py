"""From prepared uint8 films to what the image encoder sees: crop, augmentation, normalisation, batch-wise.

Everything random about a film comes from :func:`draw_parameters`, which depends on (seed, epoch, sample) only.
Horizontal flips are off unless asked for: reports say left and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from crossray.data.geometry import CropWindow
from crossray.data.randomness import Purpose, derived_uniforms
from crossray.devices import to_device
from crossray.errors import ConfigError
from crossray.settings import Settings

Range = tuple[float, float]

_UNIFORMS_PER_SAMPLE = 14


class AugmentationConfig(Settings):
    """What is varied in training; the defaults vary the place of the crop only (the GLoRIA configuration).

    ``crop_scale`` is the crop's share of the film's area, ``crop_ratio`` its width over height; without
    ``crop_scale`` the crop has the input's own size. ``degrees`` and ``translate`` (a share of the side) go both ways.
    ``brightness`` and ``contrast`` are factors, both together applied with ``jitter_probability``. ``blur_sigma`` is in
    pixels, kernel a tenth of the side made odd, applied with ``blur_probability``.
    """

    crop: Literal["random", "centre"] = "random"
    crop_scale: Range | None = None
    crop_ratio: Range = (1.0, 1.0)
    degrees: float = Field(default=0.0, ge=0.0, le=180.0)
    translate: float = Field(default=0.0, ge=0.0, le=1.0)
    scale: Range = (1.0, 1.0)
    brightness: Range = (1.0, 1.0)
    contrast: Range = (1.0, 1.0)
    jitter_probability: float = Field(default=1.0, ge=0.0, le=1.0)
    blur_sigma: Range | None = None
    blur_probability: float = Field(default=1.0, ge=0.0, le=1.0)
    horizontal_flip: float = Field(default=0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> AugmentationConfig:
        for name in ("crop_scale", "crop_ratio", "scale", "brightness", "contrast", "blur_sigma"):
            ends = getattr(self, name)
            if ends is not None and not 0.0 < ends[0] <= ends[1] < float("inf"):
                raise ValueError(f"{name} must be two positive numbers, the smaller one first, got {list(ends)}")
        if self.crop_scale is not None and self.crop_scale[1] > 1.0:
            raise ValueError("crop_scale is a share of the film's area: at most 1")
        return self

    @property
    def warps(self) -> bool:
        """Whether a film must be resampled (as against: a window of it copied)."""
        moves = self.degrees > 0 or self.translate > 0 or self.scale != (1.0, 1.0) or self.horizontal_flip > 0
        return moves or self.crop_scale is not None


class ImageInputConfig(Settings):
    """What the image encoder is given: a ``size`` × ``size`` grey film, ``(value / 255 - mean) / std``.

    ``resize`` is the side that the prepared square is brought to before cropping (area interpolation); ``null``
    crops the prepared square itself. Outside training ``evaluation: centre`` shows the central crop (GLoRIA),
    ``whole`` the whole square brought to ``size`` (LoVT, whose training crops are shares of the film). With ``whole``,
    training crops without a ``crop_scale`` are whole too.
    """

    size: int = Field(default=224, ge=8)
    resize: int | None = Field(default=None, ge=8)
    evaluation: Literal["centre", "whole"] = "centre"
    added_later: ClassVar[tuple[str, ...]] = ("evaluation",)
    mean: float = 0.5
    std: float = Field(default=0.5, gt=0.0)
    augmentation: AugmentationConfig = AugmentationConfig()

    def side(self, prepared_size: int) -> int:
        """Side of the square that is cropped from.

        Raises:
            ConfigError: the square is smaller than the crop.
        """
        whole = self.evaluation == "whole" and self.augmentation.crop_scale is None
        side = self.resize or (self.size if whole else prepared_size)
        if side < self.size:
            raise ConfigError(
                f"a crop of {self.size} pixels does not fit into a film of {side} (the store holds {prepared_size}).",
                field="image.size",
                remedy="Choose a smaller image.size, a larger image.resize, or prepare the store at a larger size.",
            )
        return side


@dataclass(frozen=True)
class AugmentationParameters:
    """Drawn numbers of B films; each array is ``[B]``. Lengths are shares of the side, angles radians."""

    crop_width: NDArray[np.float64]
    crop_height: NDArray[np.float64]
    crop_x: NDArray[np.float64]
    crop_y: NDArray[np.float64]
    angle: NDArray[np.float64]
    shift_x: NDArray[np.float64]
    shift_y: NDArray[np.float64]
    zoom: NDArray[np.float64]
    flip: NDArray[np.bool_]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    sigma: NDArray[np.float64]
    blurred: NDArray[np.bool_]


def draw_parameters(
    samples: NDArray[np.int64],
    side: int,
    config: ImageInputConfig,
    *,
    seed: int,
    epoch: int,
    purpose: Purpose = Purpose.AUGMENTATION,
) -> AugmentationParameters:
    """The augmentation of each sample. ``crop_x``/``crop_y`` place the crop: 0 leftmost/top, 1 rightmost/bottom."""
    options = config.augmentation
    u = derived_uniforms(seed, epoch, purpose, samples, _UNIFORMS_PER_SAMPLE).T
    jittered = u[12] < options.jitter_probability
    width = height = np.full(len(samples), config.size / side)
    if options.crop_scale is not None:
        area, ratio = _between(u[0], options.crop_scale), np.exp(_between(u[1], _logarithms(options.crop_ratio)))
        width, height = np.minimum(np.sqrt(area * ratio), 1.0), np.minimum(np.sqrt(area / ratio), 1.0)
    placed = options.crop == "random"
    return AugmentationParameters(
        crop_width=width,
        crop_height=height,
        crop_x=u[2] if placed else np.full(len(samples), 0.5),
        crop_y=u[3] if placed else np.full(len(samples), 0.5),
        angle=np.radians(options.degrees) * (2 * u[4] - 1),
        shift_x=options.translate * (2 * u[5] - 1),
        shift_y=options.translate * (2 * u[6] - 1),
        zoom=_between(u[7], options.scale),
        flip=u[8] < options.horizontal_flip,
        brightness=np.where(jittered, _between(u[9], options.brightness), 1.0),
        contrast=np.where(jittered, _between(u[10], options.contrast), 1.0),
        sigma=_between(u[11], options.blur_sigma or (0.0, 0.0)),
        blurred=u[13] < options.blur_probability,
    )


def training_view(
    films: Tensor,
    samples: NDArray[np.int64],
    config: ImageInputConfig,
    *,
    seed: int,
    epoch: int,
    purpose: Purpose = Purpose.AUGMENTATION,
) -> Tensor:
    """Augmented, normalised films ``[B, 1, size, size]`` float32 from prepared ones ``[B, S, S]`` uint8.

    ``samples`` (``[B]``, the studies' rows in their store) key the randomness; views of different purposes are
    independent.
    """
    side = config.side(films.shape[-1])
    drawn = draw_parameters(samples, side, config, seed=seed, epoch=epoch, purpose=purpose)
    films = _resized(films, side)
    if config.augmentation.warps:
        view = _warp(films.float().unsqueeze(1), to_device(_sampling_matrices(drawn), films.device), config.size)
    else:
        view = _windows(films, drawn, config.size).float().unsqueeze(1)
    view = _photometry(view, drawn, config.augmentation)
    return _normalise(view, config)


def evaluation_view(films: Tensor, config: ImageInputConfig) -> Tensor:
    """Centre crop or whole film, normalised: ``[N, 1, size, size]`` float32 from prepared ``[N, S, S]`` uint8."""
    side = _evaluated_side(films.shape[-1], config)
    start = (side - config.size) // 2
    window = _resized(films, side)[:, start : start + config.size, start : start + config.size]
    return _normalise(window.to(torch.float32, copy=True).unsqueeze(1), config)


def evaluation_window(prepared_size: int, config: ImageInputConfig) -> CropWindow:
    """The window of the prepared square that :func:`evaluation_view` shows, in prepared pixels."""
    side = _evaluated_side(prepared_size, config)
    pixels = prepared_size / side
    start = (side - config.size) // 2
    return CropWindow(start * pixels, start * pixels, config.size * pixels)


def _evaluated_side(prepared_size: int, config: ImageInputConfig) -> int:
    return config.size if config.evaluation == "whole" else config.side(prepared_size)


def _between(uniform: NDArray[np.float64], ends: Range) -> NDArray[np.float64]:
    return ends[0] + (ends[1] - ends[0]) * uniform


def _logarithms(ends: Range) -> Range:
    return float(np.log(ends[0])), float(np.log(ends[1]))


def _resized(films: Tensor, side: int) -> Tensor:
    if films.shape[-1] == side:
        return films
    return F.interpolate(films.float().unsqueeze(1), size=(side, side), mode="area").squeeze(1)


def _windows(films: Tensor, drawn: AugmentationParameters, size: int) -> Tensor:
    """One window a film, copied: every place is a view of the batch, and one index picks them all."""
    room = films.shape[-1] - size
    rows, columns = (
        to_device(np.minimum(place * (room + 1), room).astype(np.int64), films.device)
        for place in (drawn.crop_y, drawn.crop_x)
    )
    if not len(films):
        return films[:, :size, :size]
    places = films.unfold(1, size, 1).unfold(2, size, 1)
    return places[torch.arange(len(films), device=films.device), rows, columns]


def _sampling_matrices(drawn: AugmentationParameters) -> NDArray[np.float32]:
    """``[B, 2, 3]``: from the view's coordinates to the film's, both running from -1 to 1 (edge to edge).

    Read backwards, as sampling is: undo the shift, rotation and zoom about the centre, undo the flip, then go from the
    crop to the film.
    """
    cos, sin = np.cos(drawn.angle) / drawn.zoom, np.sin(drawn.angle) / drawn.zoom
    mirror = np.where(drawn.flip, -1.0, 1.0)
    turned = np.stack([np.stack([mirror * cos, mirror * sin], -1), np.stack([-sin, cos], -1)], -2)
    shift = 2 * np.stack([drawn.shift_x, drawn.shift_y], -1)
    offset = -np.einsum("bij,bj->bi", turned, shift)
    half = np.stack([drawn.crop_width, drawn.crop_height], -1)
    centre = (1 - half) * (2 * np.stack([drawn.crop_x, drawn.crop_y], -1) - 1)
    matrix = np.concatenate([half[..., None] * turned, (half * offset + centre)[..., None]], -1)
    return matrix.astype(np.float32)


def _warp(films: Tensor, matrices: Tensor, size: int) -> Tensor:
    grid = F.affine_grid(matrices, [len(films), 1, size, size], align_corners=False)
    return F.grid_sample(films, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _photometry(view: Tensor, drawn: AugmentationParameters, config: AugmentationConfig) -> Tensor:
    """Brightness, contrast about the film's mean, blur; values stay in 0..255."""

    def column(values: NDArray[np.float64]) -> Tensor:
        return to_device(values.astype(np.float32), view.device).view(-1, 1, 1, 1)

    if config.brightness != (1.0, 1.0):
        view = view.mul_(column(drawn.brightness)).clamp_(0.0, 255.0)
    if config.contrast != (1.0, 1.0):
        mean = view.mean(dim=(1, 2, 3), keepdim=True)
        view = view.sub_(mean).mul_(column(drawn.contrast)).add_(mean).clamp_(0.0, 255.0)
    if config.blur_sigma is not None:
        view = _blur(view, column(drawn.sigma)) if drawn.blurred.all() else _blur_some(view, drawn)
    return view


def _blur(view: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with a width of its own for each film: films are the channels of one grouped convolution."""
    reach = max(1, view.shape[-1] // 20)
    distance = torch.arange(-reach, reach + 1, device=view.device, dtype=view.dtype)
    kernel = torch.exp(-0.5 * (distance / sigma.view(-1, 1)) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    films = F.pad(view.transpose(0, 1), (reach, reach, reach, reach), mode="reflect")
    films = F.conv2d(films, kernel[:, None, None, :], groups=len(view))
    return F.conv2d(films, kernel[:, None, :, None], groups=len(view)).transpose(0, 1)


def _blur_some(view: Tensor, drawn: AugmentationParameters) -> Tensor:
    blurred = np.flatnonzero(drawn.blurred)
    if len(blurred):
        rows, sigma = to_device(blurred, view.device), to_device(drawn.sigma[blurred].astype(np.float32), view.device)
        view = view.index_copy(0, rows, _blur(view[rows], sigma))
    return view


def _normalise(view: Tensor, config: ImageInputConfig) -> Tensor:
    return view.mul_(1.0 / (255.0 * config.std)).sub_(config.mean / config.std)
