"""Products of matrices by the fastest kernel that torch holds for them.

In single precision torch multiplies on the host with MKL, which uses AVX-512 on Intel's processors only. oneDNN, by
which torch convolves, uses it on AMD's too: on two cores of a Zen 5 it multiplies twice as fast. Where it cannot help
(other devices, precisions and processors) these are torch's own products. Sums are rounded in another order, nothing
else.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
        return torch.stack([_by_kernel(one, other) for one, other in zip(rows, columns, strict=True)])


def _has_kernel(first: Tensor, second: Tensor) -> bool:
    return (
        first.device.type == second.device.type == "cpu"
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
