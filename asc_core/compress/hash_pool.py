"""A pool of rows and importance weights for a table by hashing: in turn, each by least squares given the other.

Which rows of the pool are a token's is chance, so that a table of unrelated rows loses nearly all that the pool and the
weights have no numbers for: training is to follow.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from asc_core.compress.shared_rows import fitted_rows

RIDGE = 1e-6


def fitted_pool(
    lines: torch.Tensor,
    weights: torch.Tensor,
    named: torch.Tensor,
    pool: int,
    rounds: int,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(importance (n, functions), rows (pool, width)). named: (n, functions), the rows of each line; weights: (n,)."""
    importance = lines.new_ones(named.shape)
    rows = fitted_rows(lines, weights, named, lines.new_zeros(pool, lines.shape[1]), importance)
    for number in range(rounds):
        tell(number)
        importance = fitted_importance(lines, named, rows, importance)
        rows = fitted_rows(lines, weights, named, rows, importance)
    return importance, rows


def fitted_importance(
    lines: torch.Tensor, named: torch.Tensor, rows: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """(n, functions) by least squares, near those of before where a line's rows do not tell them apart."""
    found = []
    for some, at, old in zip(lines.split(4096), named.split(4096), before.split(4096), strict=True):
        own = rows[at].double()  # (n, functions, width)
        products = own @ own.mT
        damping = RIDGE * products.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
        products += damping[:, None, None] * torch.eye(named.shape[1], dtype=products.dtype)
        left = some.double() - (old.double()[:, None] @ own)[:, 0]
        change = torch.linalg.solve(products, (own @ left[..., None])[..., 0])
        found.append((old + change).to(lines.dtype))
    return torch.cat(found)
