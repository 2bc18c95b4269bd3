from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.batches import BatchLimits, by_length, shuffled_by_length

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=60).map(np.asarray)


def padding_share(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """The share of the tokens that go through the model which are padding."""
    lengths = np.asarray(lengths)
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches if len(rows))
    return 1 - float(lengths.sum()) / padded if padded else 0.0


@given(lengths=LENGTHS, rows=st.integers(1, 8), tokens=st.integers(1, 200), overhead=st.integers(0, 50))
def test_every_feature_is_in_one_batch_within_the_limits(
    lengths: np.ndarray, rows: int, tokens: int, overhead: int
) -> None:
    batches = by_length(lengths, BatchLimits(rows, tokens, overhead))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or (len(batch) <= rows and len(batch) * lengths[batch].max() <= tokens)
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=8).map(np.asarray), overhead=st.integers(0, 20))
def test_no_other_batches_cost_less(lengths: np.ndarray, overhead: int) -> None:
    limits = BatchLimits(3, 50, overhead)

    def cost(batches: list[np.ndarray]) -> int:
        return sum(len(batch) * int(lengths[batch].max()) + overhead for batch in batches)

    order = np.argsort(lengths, kind="stable")
    best = min(
        cost(parts)
        for count in range(len(lengths))
        for cuts in itertools.combinations(range(1, len(lengths)), count)
        for parts in [np.split(order, cuts)]
        if all(len(p) == 1 or (len(p) <= 3 and len(p) * lengths[p].max() <= 50) for p in parts)
    )
    assert cost(by_length(lengths, limits)) == best


@pytest.mark.parametrize("mean", [12, 30, 90])
def test_a_thousand_texts_have_little_padding(mean: int) -> None:
    import torch

    generator = np.random.default_rng(0)
    lengths = np.clip(generator.gamma(4, mean / 4, 1000).astype(int) + 3, 3, 128)
    batches = by_length(lengths, BatchLimits.of_device(torch.device("cpu")))
    assert padding_share(lengths, batches) < 0.03
    assert len(batches) < 200


@given(lengths=LENGTHS, rows=st.integers(1, 8))
def test_training_batches_hold_every_feature_once_and_change_with_the_epoch(lengths: np.ndarray, rows: int) -> None:
    batches = shuffled_by_length(lengths, rows, (0, 1))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert {len(batch) for batch in batches} <= {rows, len(lengths) % rows}
    again = shuffled_by_length(lengths, rows, (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_training_batches_are_shuffled_yet_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 3000)
    one, two = (shuffled_by_length(lengths, 16, (0, epoch)) for epoch in (0, 1))
    assert padding_share(lengths, one) < 0.1
    assert {tuple(sorted(b)) for b in one}.isdisjoint(tuple(sorted(b)) for b in two)
    assert np.corrcoef(np.arange(len(one)), [lengths[b].mean() for b in one])[0, 1] < 0.3
