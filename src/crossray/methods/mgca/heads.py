"""MGCA's heads: two linear layers, batch norm after each, the last one without learned scale."""

from __future__ import annotations

from torch import Tensor, nn

from crossray.devices import to_device
from crossray.methods.masked_norm import MaskedBatchNorm
from crossray.products import Linear


class Head(nn.Module):
    """``[..., channels]`` to ``[..., width]``; a 1×1 convolution where the items are places or words.

    Only the items of the mask go through it: padding would otherwise have a say in how words are scaled. Of a mask that
    lies with the host they are known without waiting for the device.
    """

    def __init__(self, channels: int, hidden: int, width: int) -> None:
        super().__init__()
        self.first = Linear(channels, hidden)
        self.first_norm = MaskedBatchNorm(hidden)
        self.second = Linear(hidden, width)
        self.second_norm = MaskedBatchNorm(width, affine=False)

    def forward(self, items: Tensor, mask: Tensor | None = None) -> Tensor:
        """The items in the joint space; padding becomes 0."""
        if mask is not None:
            places = tuple(to_device(index, items.device) for index in mask.cpu().nonzero(as_tuple=True))
            real = self.forward(items[places])
            return real.new_zeros(*mask.shape, real.shape[-1]).index_put(places, real)
        hidden = self.first_norm(self.first(items)).relu()
        output: Tensor = self.second_norm(self.second(hidden))
        return output
