"""What would make the host wait for its device, counted on a machine that has none.

Torch's ``meta`` device stands in for it: a step runs there by shapes alone, so whatever must *read* a tensor, or takes
one across in a way that blocks, is seen. Not seen: a list of rows as an index, which torch takes across by itself.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import crossray

DEVICE = torch.device("meta")
OURS = str(Path(crossray.__file__).parent)

_SHAPED_BY_VALUES = {
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::equal",
    "aten::bincount",
}
_BY_INDEX = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class HostSyncs(TorchDispatchMode):
    """Lists in ``seen`` what waits and where; what is read is answered with ones, a mask is true everywhere."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.seen: list[str] = []
        self._both = ExitStack()

    @property
    def files(self) -> list[str]:
        """The file that asked, for each."""
        return [place.split(" at ")[1].split(":")[0] for place in self.seen]

    def __enter__(self) -> HostSyncs:
        self._both.enter_context(_MadeFromNumbers(self.seen))
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's
        self._both.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if (
            not any(tensor.device == DEVICE for tensor in tensors)
            and torch.device(kwargs.get("device") or "cpu") != DEVICE
        ):
            return func(*args, **kwargs)
        if name == "aten::_local_scalar_dense":
            self.seen.append(place(name))
            return torch.ones((), dtype=args[0].dtype).item()
        if name == "aten::_to_copy" and args[0].device == DEVICE and kwargs.get("device") == torch.device("cpu"):
            self.seen.append(place("to the host"))
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if name == "aten::nonzero":
            self.seen.append(place(name))
            return torch.zeros(args[0].numel(), args[0].ndim, dtype=torch.int64, device=DEVICE)
        if name in _BY_INDEX:
            if any(_waits_for(index) for index in args[1] if index is not None):
                self.seen.append(place(name))
            args = (args[0], [one for index in args[1] for one in _as_numbers(index)], *args[2:])
        elif self._waits(name, args, kwargs):
            self.seen.append(place(name))
        return func(*args, **kwargs)

    def _waits(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if name == "aten::_to_copy":
            return args[0].device != DEVICE and not kwargs.get("non_blocking")
        if name == "aten::copy_":
            return args[0].device != args[1].device and not (len(args) > 2 and args[2])
        return name in _SHAPED_BY_VALUES or (name == "aten::repeat_interleave" and kwargs.get("output_size") is None)


def _waits_for(index: Tensor) -> bool:
    """A mask is counted first; an index of the host's is taken across (a scalar is not)."""
    return index.dtype == torch.bool or (index.device != DEVICE and index.ndim > 0)


def _as_numbers(index: Tensor | None) -> list[Tensor | None]:
    """A mask that is true everywhere as indices; other indices as they are."""
    if index is None or index.dtype != torch.bool:
        return [index]
    return [torch.zeros(index.numel(), dtype=torch.int64, device=DEVICE) for _ in range(index.ndim)]


class _MadeFromNumbers(TorchFunctionMode):
    """Numbers are copied out of pageable memory, which blocks; the dispatcher is not told."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        device = torch.device(kwargs.get("device") or "cpu")
        if device == DEVICE and func in (torch.tensor, torch.as_tensor, torch.asarray):
            self._seen.append(place(func.__name__))
        return func(*args, **kwargs)


def place(operation: str) -> str:
    """The operation and the line of ours that asked for it."""
    ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(OURS)]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "autograd"
    return f"{operation} at {where}"
