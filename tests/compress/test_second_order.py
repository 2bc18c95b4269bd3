"""Columns in turn: as slow obvious code says, and never worse than each number by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.compress.low_bits import even_levels, nearest_codes, second_order_bytes, second_order_codes
from asc_core.compress.second_order import DAMPING, error_of, heaviest_first, in_turn, inverse_factor
from asc_core.modeling.quantize import Form, quantized

quick = settings(max_examples=25, deadline=None)


def random_matrix(seed: int, rows: int, columns: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(matrix, second moment of unlike and correlated inputs), float32; a moment of few tokens has no inverse."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(columns, columns, generator=generator) * torch.rand(columns, generator=generator).square() * 3
    inputs = torch.randn(tokens, columns, generator=generator) @ mixed
    return torch.randn(rows, columns, generator=generator), inputs.T @ inputs / tokens


class Whole:
    """Whole numbers; what it was asked is remembered."""

    def __init__(self, group: int | None = None):
        self.group, self.seen = group, []

    def begin(self, numbers: torch.Tensor, columns: torch.Tensor, pivots: torch.Tensor) -> None:
        self.seen.append((numbers.tolist(), columns.clone(), pivots.clone()))

    def column(self, number: int, values: torch.Tensor) -> torch.Tensor:
        return values.round()


def obvious(matrix: torch.Tensor, moments: torch.Tensor, order: list[int]) -> torch.Tensor:
    """Optimal brain surgeon: after each column the inverse of what is left is made from nothing."""
    left, found = matrix.double().clone(), torch.zeros_like(matrix, dtype=torch.float64)
    damped = moments.double() + DAMPING * moments.double().diagonal().mean() * torch.eye(
        len(moments), dtype=torch.float64
    )
    for place, number in enumerate(order):
        rest = order[place:]
        inverse = torch.linalg.inv(damped[rest][:, rest])
        found[:, number] = left[:, number].round()
        error = (left[:, number] - found[:, number]) / inverse[0, 0]
        left[:, rest] -= torch.outer(error, inverse[0])
    return found


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("group", [None, 5, 150])
def test_it_is_what_slow_obvious_code_says(ordered: bool, group: int | None) -> None:
    matrix, moments = random_matrix(0, 3, 160, 400)  # more than a block
    order = heaviest_first(moments) if ordered else None
    expected = obvious(matrix, moments, list(range(160)) if order is None else order.tolist())
    assert torch.equal(in_turn(matrix, moments, Whole(group), order), expected)
    assert not torch.equal(expected, matrix.double().round())


def test_what_is_looked_at_has_heard_of_all_columns_before() -> None:
    matrix, moments = random_matrix(1, 3, 300, 700)
    for group in (7, 130):
        rule, alone = Whole(group), Whole(1)
        in_turn(matrix, moments, rule)
        in_turn(matrix, moments, alone)
        assert [n for numbers, _, _ in rule.seen for n in numbers] == list(range(300))
        for numbers, columns, pivots in rule.seen:
            _, expected, pivot = alone.seen[numbers[0]]
            torch.testing.assert_close(columns[:, :1], expected)
            assert float(pivots[0]) == float(pivot)


def test_the_factor_is_that_of_the_inverse_even_where_there_is_none() -> None:
    _, moments = random_matrix(2, 1, 40, 90)
    upper = inverse_factor(moments)
    damped = moments.double() + DAMPING * moments.double().diagonal().mean() * torch.eye(40, dtype=torch.float64)
    torch.testing.assert_close(upper.T @ upper @ damped, torch.eye(40, dtype=torch.float64), atol=1e-8, rtol=0)
    assert torch.equal(upper, upper.triu())
    for singular in (torch.zeros(4, 4), torch.ones(4, 4) * 1e12, random_matrix(2, 1, 40, 3)[1]):
        assert torch.isfinite(inverse_factor(singular)).all()


@quick
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 20),
    columns=st.integers(1, 40),
    tokens=st.integers(1, 200),
    bits=st.sampled_from([2, 3, 4]),
    group=st.sampled_from([1, 4, 64]),
    by_columns=st.booleans(),
)
def test_second_order_is_never_worse_than_nearest(
    seed: int, rows: int, columns: int, tokens: int, bits: int, group: int, by_columns: bool
) -> None:
    matrix, moments = random_matrix(seed, rows, columns, tokens)
    form, errors = Form(bits, group, by_columns), []
    lines = matrix.T if by_columns else matrix
    found = second_order_codes(matrix, moments, form, even_levels(bits))
    for codes in (found, nearest_codes(lines, form, even_levels(bits))):
        values = codes.values().double()
        errors.append(error_of((values.T if by_columns else values) - matrix.double(), moments.double()))
    assert errors[0] <= errors[1]


@pytest.mark.parametrize("by_columns", [False, True])
def test_it_is_far_better_where_inputs_have_much_in_common(by_columns: bool) -> None:
    matrix, moments = random_matrix(3, 30, 60, 500)
    form = Form(3, 16, by_columns)
    found = second_order_codes(matrix, moments, form, even_levels(3)).values().double()
    nearest = nearest_codes(matrix.T if by_columns else matrix, form, even_levels(3)).values().double()
    if by_columns:
        found, nearest = found.T, nearest.T
    errors = [error_of(values - matrix.double(), moments.double()) for values in (found, nearest)]
    assert errors[0] < 0.6 * errors[1]


@quick
@given(seed=st.integers(0, 1000), columns=st.integers(1, 40), tokens=st.integers(1, 200))
def test_in_int8_it_is_never_worse_than_nearest(seed: int, columns: int, tokens: int) -> None:
    matrix, moments = random_matrix(seed, 6, columns, tokens)
    errors = [
        error_of(codes.double() * scale.double()[:, None] - matrix.double(), moments.double())
        for codes, scale in (second_order_bytes(matrix, moments), quantized(matrix))
    ]
    assert errors[0] <= errors[1]
