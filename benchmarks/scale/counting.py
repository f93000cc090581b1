"""What a forward and a backward pass compute and move, counted from the operations that torch is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossray.training.profiling import operation_counter

_MOVE_NOTHING = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view"}


@dataclass(frozen=True)
class Counted:
    """Of one forward and backward pass.

    Attributes:
        flops: of products of matrices and convolutions; a multiplication and an addition are two.
        moved: bytes that all other operations read and write, if none is fused with its neighbour.
        saved: bytes kept from the forward pass for the backward one, weights apart.
    """

    flops: float
    moved: float
    saved: float

    def per(self, pairs: int) -> Counted:
        return Counted(self.flops / pairs, self.moved / pairs, self.saved / pairs)


def count(forward: Callable[[], Tensor], module: nn.Module | None = None) -> Counted:
    """Count ``forward()``, a scalar, and its backward pass; on ``meta`` tensors nothing is computed."""
    weights = {_storage(parameter) for parameter in module.parameters()} if module is not None else set()
    saved: dict[int, int] = {}
    alive: list[Tensor] = []  # an address must not be given out twice while we count

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            saved[_storage(tensor)] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    counter = operation_counter()
    moved = _Moved(counter.flop_registry)
    with counter as flops, moved:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            value = forward()
        torch.autograd.backward(value)
    return Counted(flops.get_total_flops(), moved.bytes, sum(saved.values()))


class _Moved(TorchDispatchMode):
    """Adds up what is read and written outside of products; a view moves nothing."""

    def __init__(self, products: Collection[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.bytes = 0
        self._products = products

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = [one.alias_info for one in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in aliases)
        moves = not is_view and func._overloadpacket.__name__ not in _MOVE_NOTHING
        if moves and func._overloadpacket not in self._products:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.bytes += sum(_bytes(tensor) for tensor in tensors)
        return result


def _bytes(tensor: Tensor) -> int:
    """A tensor that was expanded is no longer than what it was expanded from."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
