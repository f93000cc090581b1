from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from crossray import products
from crossray.products import Linear, batched_product, product


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


def test_of_a_batch_no_two_products_are_held_beside_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def counted(rows: Tensor, columns: Tensor) -> Tensor:
        nonlocal most
        most = max(most, sum(one() is not None for one in alive))
        alive.append(weakref.ref(result := rows @ columns.T))
        return result

    monkeypatch.setattr(products, "_WORTH_A_CALL", 1)
    monkeypatch.setattr(products, "_has_kernel", lambda first, second: True)
    monkeypatch.setattr(products, "_by_kernel", counted)
    rows, columns = drawn(6, 4, 12), drawn(6, 3, 12, seed=1)
    assert_is_product(batched_product(rows, columns), rows, columns)
    assert len(alive) == 6
    assert most == 0


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7), (0, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_has_the_values_and_gradients_of_torchs(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = Linear(7, 4, bias=bias)
    given = drawn(*shape).requires_grad_()
    leaves = [given, *layer.parameters()]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    mapped, wanted = layer(given), F.linear(exact[0], exact[1], exact[2] if bias else None)
    torch.testing.assert_close(mapped.double(), wanted, atol=1e-5, rtol=1e-5)
    weights = drawn(*mapped.shape, seed=2)
    got = torch.autograd.grad((mapped * weights).sum(), leaves)
    for one, other in zip(got, torch.autograd.grad((wanted * weights).sum(), exact), strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-5)


def test_a_linear_layer_gives_no_gradient_to_what_asks_for_none() -> None:
    layer = Linear(7, 4)
    layer.weight.requires_grad_(False)
    given = drawn(3, 7)
    layer(given).sum().backward()
    assert given.grad is None
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((4,), 3.0))


def test_a_linear_layer_obeys_autocast() -> None:
    layer = Linear(7, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(drawn(3, 7)).dtype == torch.bfloat16


def test_a_linear_layer_is_traced_as_torchs() -> None:
    layer = Linear(7, 4)
    of_any_size = {"input": {0: torch.export.Dim("rows")}}
    graph = torch.export.export(layer, (drawn(3, 7),), dynamic_shapes=of_any_size).graph
    assert [str(node.target) for node in graph.nodes if node.op == "call_function"] == ["aten.linear.default"]
