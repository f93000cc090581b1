from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from crossray import products
from crossray.products import batched_product, product


@pytest.fixture(autouse=True)
def _small_ones_are_worth_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_WORTH_PREPARING", 1)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_is_product(got: Tensor, rows: Tensor, columns: Tensor) -> None:
    wanted = rows.double() @ columns.double().mT
    torch.testing.assert_close(got.double(), wanted, atol=1e-5, rtol=1e-5)
    assert got.dtype == rows.dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "layout",
    [
        lambda matrix: matrix,
        lambda matrix: matrix.T.contiguous().T,
        lambda matrix: matrix.repeat(1, 2)[:, : matrix.shape[1]],
        lambda matrix: matrix.T.repeat(1, 3)[:, : len(matrix)].T,
        lambda matrix: matrix.repeat_interleave(2, dim=1)[:, ::2],
    ],
)
def test_a_product_is_the_same_however_its_matrices_lie_in_memory(
    dtype: torch.dtype, layout: Callable[[Tensor], Tensor]
) -> None:
    rows, columns = drawn(33, 20, dtype=dtype), drawn(17, 20, dtype=dtype, seed=1)
    for first, second in ((layout(rows), columns), (rows, layout(columns)), (layout(rows), layout(columns))):
        assert_is_product(product(first, second), rows, columns)


@pytest.mark.parametrize("shapes", [((0, 4), (3, 4)), ((3, 4), (0, 4)), ((3, 0), (2, 0)), ((1, 1), (1, 1))])
def test_a_product_of_nothing_or_next_to_nothing_has_its_shape(
    shapes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    rows, columns = (drawn(*shape) for shape in shapes)
    assert_is_product(product(rows, columns), rows, columns)


@pytest.mark.parametrize("bound", [1, products._WORTH_A_CALL])
def test_a_batch_of_products_is_each_of_them(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    monkeypatch.setattr(products, "_WORTH_A_CALL", bound)
    rows, columns = drawn(21, 5, 12).transpose(0, 1), drawn(5, 12, 9, seed=1).mT
    assert_is_product(batched_product(rows, columns), rows, columns)
