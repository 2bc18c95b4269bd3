from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.compress.codebooks import error
from asc_core.compress.hash_pool import fitted_importance, fitted_pool
from asc_core.compress.shared_rows import summed_rows
from asc_core.modeling import hashed_rows


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), functions=st.integers(1, 3), pool=st.integers(1, 20))
def test_weights_and_pool_in_turn_never_lose_more(seed: int, functions: int, pool: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lines, weights = torch.randn(60, 5, generator=generator), torch.rand(60, generator=generator) + 0.1
    named = hashed_rows(torch.arange(60), pool, functions, seed)
    errors = []
    for rounds in range(4):
        importance, rows = fitted_pool(lines, weights, named, pool, rounds)
        errors.append(error(summed_rows(rows, named, importance), lines, weights))
    assert errors[0] <= 1 + 1e-6
    assert all(later <= before + 1e-5 for before, later in itertools.pairwise(errors))


def test_the_weights_of_a_row_are_its_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    lines, rows = torch.randn(30, 5, generator=generator), torch.randn(10, 5, generator=generator)
    named = torch.stack([torch.randperm(10, generator=generator)[:2] for _ in range(30)])
    found = fitted_importance(lines, named, rows, torch.ones(30, 2))
    for line in range(30):
        best = torch.linalg.lstsq(rows[named[line]].T, lines[line, :, None]).solution[:, 0]
        torch.testing.assert_close(found[line], best, atol=1e-3, rtol=1e-3)


def test_rows_that_two_functions_both_name_keep_both_weights() -> None:
    lines, rows = torch.randn(3, 5), torch.randn(2, 5)
    found = fitted_importance(lines, torch.zeros(3, 2, dtype=torch.long), rows, torch.ones(3, 2))
    assert found.isfinite().all()
    torch.testing.assert_close(found[:, 0], found[:, 1], atol=1e-4, rtol=1e-4)


def test_a_table_that_was_made_by_hashing_is_found_again() -> None:
    generator = torch.Generator().manual_seed(1)
    named = hashed_rows(torch.arange(300), 20, 2, 1)
    planted = summed_rows(torch.randn(20, 8, generator=generator), named, torch.rand(300, 2, generator=generator) + 0.5)
    weights = torch.ones(300)
    importance, rows = fitted_pool(planted, weights, named, 20, 60)
    assert error(summed_rows(rows, named, importance), planted, weights) < 0.02
