"""Batch sizes that are found out while evaluating."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from asc_core.batches import BatchLimits
from asc_core.evaluate import measure, measuring, throughput
from asc_core.evaluate.sequential import schedule
from asc_core.evaluate.throughput import BatchSizeTuner, batch_limits_of, throughput_of
from tests.evaluate.toy_tasks import encoder_for, toy_task


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> Iterator[None]:
    throughput.forget()
    yield
    throughput.forget()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now.seconds)
    return now


def explored(clock: SimpleNamespace, seconds: dict[int, float], tokens: int = 20_000) -> BatchSizeTuner:
    """seconds: size -> what a token takes in batches of that size."""
    task = toy_task("text-classification", validation=20)
    encoder = encoder_for(task)
    tuner = BatchSizeTuner(encoder, np.full(tokens // 20, 20))
    assert tuner.worthwhile
    batches = tuner.batches()
    assert sorted(np.concatenate(batches)) == list(range(tokens // 20))
    for rows in batches:
        size = tuner._size_of[rows.tobytes()]
        assert len(rows) * 20 <= size
        with tuner.timing(rows):
            clock.seconds += seconds[size] * 20 * len(rows)
    tuner.remember_best()
    return tuner


def test_the_fastest_size_is_remembered_for_all_models_of_that_width(clock: SimpleNamespace) -> None:
    encoder = explored(clock, {256: 3e-5, 512: 1e-5, 1024: 2e-5, 2048: 4e-5}).encoder
    known = throughput_of(encoder)
    assert known is not None
    assert known.batch_tokens == 512
    assert known.seconds(encoder, 1000) == pytest.approx(0.01)
    cut = encoder.cut(_half(encoder))
    assert batch_limits_of(cut).tokens == 512
    assert known.seconds(cut, 1000) < 0.01


def test_of_two_sizes_that_are_as_good_the_larger_one_is_taken(clock: SimpleNamespace) -> None:
    explored(clock, {256: 1.02e-5, 512: 1e-5, 1024: 1.02e-5, 2048: 4e-5})
    assert {known.batch_tokens for known in throughput._measured.values()} == {1024}


def test_a_disturbed_batch_decides_nothing(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {256: 3e-5, 512: 2e-5, 1024: 1e-5, 2048: 4e-5}
    usual, disturbed = BatchSizeTuner.timing, iter([False] * 5 + [True] + [False] * 1000)

    @contextmanager
    def timing(self: BatchSizeTuner, rows: np.ndarray) -> Iterator[None]:
        with usual(self, rows):
            yield
            clock.seconds += 30.0 * next(disturbed)

    monkeypatch.setattr(BatchSizeTuner, "timing", timing)
    explored(clock, seconds, tokens=80_000)
    assert {known.batch_tokens for known in throughput._measured.values()} == {1024}


def test_batches_that_would_take_too_long_to_cancel_are_not_taken(clock: SimpleNamespace) -> None:
    explored(clock, {256: 1e-3, 512: 9e-4, 1024: 5e-4, 2048: 4e-4})
    assert {known.batch_tokens for known in throughput._measured.values()} == {256}, (
        "of 512 tokens a layer takes more than 0.1 s here"
    )


def test_an_evaluation_finds_out_and_gives_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(throughput.BATCH_TOKENS_TRIED, "cpu", (16, 32, 64))
    task = toy_task("text-classification", validation=70)
    encoder = encoder_for(task)
    found = measure(encoder, task)
    known = throughput_of(encoder)
    assert known is not None
    assert known.batch_tokens in (16, 32, 64)
    again = measure(encoder, task, limits=BatchLimits(1, 1000, 0))
    np.testing.assert_array_equal(found.statistics, again.statistics)


def test_a_few_texts_teach_nothing() -> None:
    task = toy_task("text-classification", validation=20)
    encoder = encoder_for(task)
    measure(encoder, task)
    assert throughput_of(encoder) is None


def test_the_first_slice_is_as_large_as_the_throughput_allows(clock: SimpleNamespace) -> None:
    assert schedule(1000, 250) == [250, 750, 1000]
    encoder = explored(clock, {256: 1e-5, 512: 1e-5, 1024: 1e-5, 2048: 1e-5}).encoder
    task = toy_task("text-classification", validation=300)
    own = encoder_for(task)
    assert next(measuring(own, task)).total == 300
    assert len(next(measuring(own, task))) == 300, "at ten microseconds a token all of them fit into the first look"
    assert encoder.shape.hidden == own.shape.hidden


def _half(encoder):  # type: ignore[no-untyped-def]
    from asc_core.values import Plan

    plan = Plan.full(encoder.shape)
    for layer in range(encoder.shape.layers):
        for neuron in range(0, encoder.shape.neurons[layer], 2):
            plan = plan.drop(layer, neuron=neuron)
    return plan
