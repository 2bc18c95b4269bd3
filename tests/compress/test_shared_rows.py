"""Rows that many lines share, against plain least squares."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.compress import shared_rows
from asc_core.compress.shared_rows import fitted_rows, summed_rows

Problem = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """(lines, weights, named, start, factors), of which some rows are named by no line."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    n, k, p, width = (draw(st.integers(1, most)) for most in (40, 4, 12, 5))
    named = torch.randint(0, p, (n, k), generator=generator)
    factors = torch.randn(n, k, generator=generator) if draw(st.booleans()) else None
    weights = torch.rand(n, generator=generator) * 10 ** draw(st.integers(0, 3)) + 0.01
    return torch.randn(n, width, generator=generator), weights, named, torch.randn(p, width), factors


def lost(rows: torch.Tensor, problem: Problem) -> float:
    lines, weights, named, _, factors = problem
    return float(weights.double() @ (summed_rows(rows, named, factors) - lines).double().square().sum(1))


def design(problem: Problem) -> torch.Tensor:
    """(n, p)"""
    _, _, named, start, factors = problem
    found = torch.zeros(len(named), len(start), dtype=torch.float64)
    for line in range(len(named)):
        for place, row in enumerate(named[line].tolist()):
            found[line, row] += 1.0 if factors is None else float(factors[line, place])
    return found


@settings(max_examples=40, deadline=None)
@given(problem=problems(), chunk=st.sampled_from([3, 1024]))
def test_a_line_is_the_sum_of_the_rows_that_it_names(problem: Problem, chunk: int) -> None:
    _, _, named, start, factors = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_rows, "LINES", chunk)
        found = summed_rows(start, named, factors)
    torch.testing.assert_close(found.double(), design(problem) @ start.double(), atol=1e-4, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(problem=problems(), columns=st.sampled_from([2, 128]))
def test_rows_solved_at_once_lose_as_little_as_can_be(problem: Problem, columns: int) -> None:
    lines, weights, named, start, factors = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_rows, "COLUMNS", columns)
        found = fitted_rows(lines, weights, named, start, factors)
    roots, squares = weights.double().sqrt()[:, None], torch.zeros(len(start), dtype=torch.float64)
    each = torch.ones(named.shape) if factors is None else factors.square()
    squares.index_add_(0, named.flatten(), (weights[:, None] * each).double().flatten())
    ridge = (shared_rows.RIDGE * squares.clamp_min(1e-12)).sqrt()  # what is not told apart stays near what it was
    wide = torch.cat([roots * design(problem), ridge.diag()])
    wanted = torch.cat([roots * lines.double(), ridge[:, None] * start.double()])
    best = torch.linalg.lstsq(wide, wanted, driver="gelsd").solution
    least, whole = ((wide @ rows - wanted).square().sum() for rows in (best, start.double()))
    assert lost(found, problem) <= float(least) + 1e-5 * float(whole)
    unnamed = [row for row in range(len(start)) if not (named == row).any()]
    assert torch.equal(found[unnamed], start[unnamed])


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_rows_by_descent_never_lose_more_and_in_time_as_little_as_can_be(problem: Problem) -> None:
    lines, weights, named, start, factors = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_rows, "SOLVED_AT_ONCE", 0)
        lost_in = []
        for steps in (0, 1, 3, 12, 60):
            patch.setattr(shared_rows, "STEPS", steps)
            lost_in.append(lost(fitted_rows(lines, weights, named, start, factors), problem))
    scale = 1e-4 * lost_in[0] + 1e-6
    assert lost_in[0] == pytest.approx(lost(start, problem), rel=1e-6)
    assert all(later <= before + scale for before, later in itertools.pairwise(lost_in))
    assert lost_in[-1] <= lost(fitted_rows(lines, weights, named, start, factors), problem) + 30 * scale
