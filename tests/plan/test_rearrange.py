"""Rearrangement: as many parts as before, never worse, and what the published algorithm chooses."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.plan.rearrange import exchange, information, rearranged, removed
from asc_core.values import Plan
from tests.plan.builders import shape_of


def lost(gradients: np.ndarray, gone: list[int]) -> float:
    """Mean over examples of (the sum of the removed gates' gradients)^2: the sum of I_ij over them."""
    return float(np.square(gradients[:, gone].sum(1)).mean())


def as_published(gradients: np.ndarray, count: int) -> list[int]:
    """The authors' greedy exchange, by gradient vectors: take one in, leave out the one without which least is lost."""
    order = np.argsort(np.square(gradients).sum(0), kind="stable").tolist()
    gone = order[:count]
    for part in order[count:]:
        gone.append(part)
        rest = [lost(gradients, [i for i in gone if i != out]) for out in gone]
        del gone[int(np.argmin(rest))]
    return sorted(gone)


@given(st.integers(0, 2**16), st.integers(2, 7), st.data())
@settings(deadline=None)
def test_the_published_exchange_is_made_and_never_loses_more(seed: int, parts: int, data: st.DataObject) -> None:
    gradients = np.random.default_rng(seed).normal(size=(11, parts))
    count = data.draw(st.integers(1, parts - 1))
    start = np.argsort(np.square(gradients).sum(0), kind="stable")[:count].tolist()
    found = exchange(start, information(gradients))
    assert found == as_published(gradients, count)
    best = min(lost(gradients, list(gone)) for gone in combinations(range(parts), count))
    assert best - 1e-9 <= lost(gradients, found) <= lost(gradients, start) + 1e-9


def test_two_parts_that_cancel_go_together_although_each_alone_weighs_more() -> None:
    noise = np.random.default_rng(0).normal(size=(400, 4))
    pair = noise[:, 2]
    gradients = np.column_stack([0.9 * noise[:, 0], 5 * noise[:, 1], pair, -1.1 * pair + 0.01 * noise[:, 3]])
    found = exchange([0, 2], information(gradients))  # the two with the least information of their own
    assert found == [2, 3]
    assert found == list(min(combinations(range(4), 2), key=lambda gone: lost(gradients, list(gone))))


@pytest.mark.parametrize("gone", [[], [0, 1, 2]])
def test_where_nothing_or_everything_goes_there_is_nothing_to_exchange(gone: list[int]) -> None:
    assert exchange(gone, np.eye(3)) == gone


def test_a_plan_keeps_as_many_parts_in_every_row() -> None:
    shape = shape_of([4, 3], [6, 0])
    generator = np.random.default_rng(1)
    heads = [generator.normal(size=(9, n)) for n in shape.heads]
    neurons = [generator.normal(size=(9, n)) for n in shape.neurons]
    plan = Plan(shape, ((0, 1), ()), ((1, 3, 5), ()), (0, 1))
    found = rearranged(plan, heads, neurons)
    assert [len(row) for row in found.heads] == [2, 0]
    assert [len(row) for row in found.neurons] == [3, 0]
    for now, before, gradients in ((found.heads, plan.heads, heads), (found.neurons, plan.neurons, neurons)):
        for kept, start, g in zip(now, before, gradients, strict=True):
            n = g.shape[1]
            assert lost(g, removed(kept, n)) <= lost(g, removed(start, n)) + 1e-9
