"""Segmentation heads: from maps to logits ``[B, classes, height, width]`` at the film's size.

Spec: ``localized_evaluation``, sections 3.1 and 3.2; ``downstream_protocols``, section 5.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.evaluation.heads.maps import INPUT, FeatureMaps, MapChannels
from crossray.evaluation.heads.pyramid import SimplePyramid
from crossray.evaluation.heads.sizes import require_multiple
from crossray.evaluation.heads.unet import UNet

SegmentationHead = Literal["linear", "unet", "smp_unet", "setr_pup"]

_SMP_WIDTHS = (256, 128, 64, 32, 16)
_SMP_STRIDES = (2, 4, 8, 16, 32)
_SETR_WIDTHS = (512, 256, 128, 64)


class LinearSegmentation(nn.Module):
    """One 1 x 1 convolution on the last map, enlarged to the film (bilinear, corners not aligned)."""

    def __init__(self, channels: MapChannels, classes: int) -> None:
        super().__init__()
        self.stride = channels.coarsest
        self.classify = nn.Conv2d(channels.at(self.stride), classes, 1)

    def forward(self, maps: FeatureMaps) -> Tensor:
        """Logits at the film's size."""
        return enlarge(self.classify(maps.at(self.stride)), maps.size)


class SmpUNet(nn.Module):
    """The decoder of segmentation-models-pytorch's ``Unet`` with its head: the U-Net of GLoRIA and MGCA.

    A stride that the trunk does not have takes part as a map without channels.
    """

    def __init__(self, channels: MapChannels, classes: int) -> None:
        super().__init__()
        from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        channels.at(_SMP_STRIDES[-1])
        widths = [channels.at(INPUT), *(channels.by_stride.get(stride, 0) for stride in _SMP_STRIDES)]
        self.decoder = UnetDecoder(encoder_channels=widths, decoder_channels=_SMP_WIDTHS, n_blocks=len(_SMP_WIDTHS))
        self.classify = nn.Conv2d(_SMP_WIDTHS[-1], classes, 3, padding=1)
        initialize_decoder(self.decoder)
        initialize_head(self.classify)

    def forward(self, maps: FeatureMaps) -> Tensor:
        """Logits at the film's size."""
        require_multiple(maps.size, _SMP_STRIDES[-1], "smp_unet")
        film = maps.at(INPUT)
        pyramid = [film, *(maps.maps.get(stride, _without_channels(film, stride)) for stride in _SMP_STRIDES)]
        logits: Tensor = self.classify(self.decoder(pyramid))
        return logits


class SetrPup(nn.Module):
    """Progressive upsampling: four times 3 x 3 convolution, batch norm, ReLU and doubling, from the last map.

    As in MGCA's release the last map is first mixed place by place, and doubling aligns corners. A trunk of another
    stride than 16 ends at another size, which is enlarged to the film's.
    """

    def __init__(self, channels: MapChannels, classes: int, widths: tuple[int, ...] = _SETR_WIDTHS) -> None:
        super().__init__()
        self.stride = channels.coarsest
        width = channels.at(self.stride)
        steps: list[nn.Module] = [nn.Conv2d(width, width, 1)]
        for below, above in zip((width, *widths), widths, strict=False):
            steps += [nn.Conv2d(below, above, 3, padding=1), nn.BatchNorm2d(above), nn.ReLU(inplace=True)]
            steps.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
        self.decoder = nn.Sequential(*steps)
        self.classify = nn.Conv2d(widths[-1], classes, 3, padding=1)

    def forward(self, maps: FeatureMaps) -> Tensor:
        """Logits at the film's size."""
        return enlarge(self.classify(self.decoder(maps.at(self.stride))), maps.size)


class OnPyramid(nn.Module):
    """A head that asks for several strides, on a trunk that has one."""

    def __init__(self, pyramid: SimplePyramid, head: nn.Module) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.head = head

    def forward(self, maps: FeatureMaps) -> object:
        """What the head gives."""
        return self.head(self.pyramid(maps))


def segmentation_head(kind: SegmentationHead, channels: MapChannels, classes: int) -> nn.Module:
    """A head with fresh weights, on a pyramid where the trunk is a plain ViT and the head wants several strides.

    Raises:
        ConfigError: the trunk lacks a stride that the head needs.
    """
    if kind == "linear":
        return LinearSegmentation(channels, classes)
    if kind == "setr_pup":
        return SetrPup(channels, classes)
    make = UNet if kind == "unet" else SmpUNet
    if not channels.flat:
        return make(channels, classes)
    pyramid = SimplePyramid(channels)
    return OnPyramid(pyramid, make(pyramid.channels, classes))


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners not aligned; the logits themselves where they have the size already.

    Rows and columns are enlarged by one small matrix each: ``F.interpolate`` but for rounding. On a CPU the gradient of
    ``F.interpolate`` is most of what training a linear head costs.
    """
    if logits.shape[2:] == size:
        return logits
    of_rows, of_columns = (_enlargement(*each, logits) for each in zip(logits.shape[2:], size, strict=True))
    return of_rows @ (logits @ of_columns.T)


def _enlargement(places: int, pixels: int, like: Tensor) -> Tensor:
    """``[pixels, places]``: what each pixel takes of each place."""
    places_alone = torch.eye(places, dtype=like.dtype, device=like.device)
    return F.interpolate(places_alone.unsqueeze(0), pixels, mode="linear", align_corners=False)[0].T


def _without_channels(film: Tensor, stride: int) -> Tensor:
    batch, _, height, width = film.shape
    return torch.zeros(batch, 0, height // stride, width // stride, dtype=film.dtype, device=film.device)
