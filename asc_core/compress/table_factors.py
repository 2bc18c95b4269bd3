"""The table of low rank that is nearest to a table, by its rows' weights (Eckart and Young 1936)."""

from __future__ import annotations

import torch


def table_factors(lines: torch.Tensor, weights: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(first (n, rank), second (width, rank)): first @ second.T is the nearest to lines (n, width).

    second has orthonormal columns, so that an error in the first factor is as large in the table. rank: the width at
    most.
    """
    wide = lines.double()
    _, vectors = torch.linalg.eigh(wide.T @ (weights.double()[:, None] * wide))
    second = vectors.flip(1)[:, :rank]
    return (wide @ second).to(lines.dtype), second.contiguous().to(lines.dtype)
