"""Maps as tokens and tokens as maps (`prior` spec, P1 and P2)."""

from __future__ import annotations

from torch import Tensor

from crossray.methods.prior.config import TokenLayout


def local_tokens(places: Tensor, layout: TokenLayout) -> Tensor:
    """Tokens ``[B, R, C]`` of places ``[B, R, C]``, row-major over the grid.

    ``reference_view`` reads the map ``[B, C, rows, columns]`` as it lies in memory as ``[B, R, C]``: a "token" then
    holds a few channels of all places.
    """
    return places if layout == "spatial" else places.transpose(1, 2).reshape(places.shape)


def token_maps(tokens: Tensor, grid: tuple[int, int], layout: TokenLayout) -> Tensor:
    """Maps ``[B, D, rows, columns]`` of tokens ``[B, R, D]``.

    ``reference_view`` reads them as they lie in memory: most of its "channels" are slices of a single token.
    """
    width = tokens.shape[2]
    if layout == "spatial":
        tokens = tokens.transpose(1, 2)
    return tokens.reshape(len(tokens), width, *grid)
