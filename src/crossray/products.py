"""Products of matrices by the fastest kernel that torch holds for them.

In single precision torch multiplies on the host with MKL, which uses AVX-512 on Intel's processors only. oneDNN, by
which torch convolves, uses it on AMD's too: on two cores of a Zen 5 it multiplies twice as fast. Where it cannot help
(other devices, precisions and processors) these are torch's own products. Sums are rounded in another order, nothing
else.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WORTH_PREPARING = 1 << 26
"""Multiplications from which it pays: for each new shape oneDNN first writes its kernel, which takes milliseconds."""

_WORTH_A_CALL = 1 << 23
"""Those of one matrix of a batch from which a call for it alone is faster than torch's batched product."""


def product(rows: Tensor, columns: Tensor) -> Tensor:
    """``rows [P, K] @ columns [Q, K].T``, ``[P, Q]``. Not differentiable."""
    with torch.no_grad():
        if rows.numel() * len(columns) < _WORTH_PREPARING or not _has_kernel(rows, columns):
            return rows @ columns.T
        return _by_kernel(rows, columns)


def batched_product(rows: Tensor, columns: Tensor) -> Tensor:
    """``rows [N, P, K] @ columns [N, Q, K].mT``, ``[N, P, Q]``. Not differentiable."""
    with torch.no_grad():
        of_all = rows.numel() * columns.shape[1]
        if of_all < max(_WORTH_PREPARING, len(rows) * _WORTH_A_CALL) or not _has_kernel(rows, columns):
            return torch.bmm(rows, columns.mT)
        result = rows.new_empty(len(rows), rows.shape[1], columns.shape[1])
        for place, one, other in zip(result, rows, columns, strict=True):
            place.copy_(_by_kernel(one, other))  # let go at once: stacked at the end, all would be held twice
        return result


class Linear(nn.Linear):
    """torch's linear layer, whose large products in training are :func:`product`: differentiable once there."""

    def forward(self, input: Tensor) -> Tensor:
        """``[..., in_features]`` to ``[..., out_features]``."""
        by_kernel = torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu") and _has_kernel(input, self.weight)
        if not by_kernel or input.numel() * self.out_features < _WORTH_PREPARING:
            return F.linear(input, self.weight, self.bias)
        rows: Tensor = _LinearMap.apply(input.reshape(-1, self.in_features), self.weight, self.bias)
        return rows.view(*input.shape[:-1], self.out_features)


class _LinearMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        mapped = product(rows, weight)
        return mapped if bias is None else mapped.add_(bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight.T) if of_rows else None,
            product(grad.T, rows.T) if of_weight else None,
            grad.sum(dim=0) if of_bias else None,
        )


def _has_kernel(first: Tensor, second: Tensor) -> bool:
    """Not for kinds of tensors of their own, as they are traced for an export or spread over processes."""
    return (
        {type(first), type(second)} <= {Tensor, nn.Parameter}
        and first.device.type == second.device.type == "cpu"
        and first.dtype == second.dtype == torch.float32
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _by_kernel(rows: Tensor, columns: Tensor) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(_in_order(rows), _in_order(columns), None, "none", [], "")
    return result


def _in_order(matrix: Tensor) -> Tensor:
    """The matrix with numbers that follow each other by row or by column: of others oneDNN has no fast kernel."""
    return matrix if matrix.is_contiguous() or matrix.T.is_contiguous() else matrix.contiguous()
