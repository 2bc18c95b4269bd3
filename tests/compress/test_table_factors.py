from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.compress.table_factors import table_factors


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(6, 40), rank=st.integers(1, 6))
def test_what_is_lost_is_what_the_weighted_singular_values_say(seed: int, n: int, rank: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lines, weights = torch.randn(n, 6, generator=generator), torch.rand(n, generator=generator) + 0.1
    first, second = table_factors(lines, weights, rank)
    assert first.shape == (n, rank)
    assert second.shape == (6, rank)
    lost = weights @ (first @ second.T - lines).square().sum(1)
    rest = torch.linalg.svdvals(weights.sqrt()[:, None] * lines)[rank:].square().sum()  # Eckart and Young
    torch.testing.assert_close(lost, rest, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(second.T @ second, torch.eye(rank), atol=1e-5, rtol=0)
