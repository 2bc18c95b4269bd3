from __future__ import annotations

import numpy as np
import pytest

from asc_core.scores import sweep
from asc_core.scores.sensitivity import PARTS
from asc_core.tasks.base import Targets
from asc_core.values import PartValues
from tests.scores.toy import PairTask, ToyTask, single_example_gradients
from tests.test_surgery import VARIANTS
from tests.tiny import tiny


def flat(values: PartValues, part: str) -> np.ndarray:
    found = getattr(values, part)
    return np.concatenate(found) if isinstance(found, tuple) else found


@pytest.mark.parametrize("variant", VARIANTS)
def test_fisher_and_michel_equal_a_loop_of_single_example_backward_passes(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder, task = tiny(name, **overrides), ToyTask(7, padding=2)
    gradients = single_example_gradients(encoder, ToyTask(7))
    scores = sweep(encoder, task, ["fisher", "michel"], batch_tokens=40)
    for part in PARTS:
        expected = gradients[part]
        assert np.abs(expected).max() > 1e-3, part
        np.testing.assert_allclose(flat(scores["fisher"].values, part), (expected**2).mean(0), rtol=2e-3, atol=1e-7)
        np.testing.assert_allclose(flat(scores["michel"].values, part), np.abs(expected).mean(0), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("task", [ToyTask(6, windows=True), PairTask(6)], ids=["windows", "two texts a feature"])
def test_windows_count_one_by_one_and_paired_texts_together(task: ToyTask) -> None:
    encoder = tiny()
    expected = single_example_gradients(encoder, task)
    scores = sweep(encoder, task, ["fisher"], batch_tokens=60)["fisher"]
    for part in PARTS:
        np.testing.assert_allclose(flat(scores.values, part), (expected[part] ** 2).mean(0), rtol=2e-3, atol=1e-7)
    assert ("windows" in scores.notes) == task.windows


@pytest.mark.parametrize("targets", ["gold", "argmax"])
def test_the_labels_that_were_asked_for_are_used_and_named(targets: Targets) -> None:
    encoder, task = tiny(), ToyTask(6)
    expected = single_example_gradients(encoder, task, targets)["heads"]
    scores = sweep(encoder, task, ["fisher", "update"], targets=targets)
    np.testing.assert_allclose(flat(scores["fisher"].values, "heads"), (expected**2).mean(0), rtol=2e-3)
    assert (scores["fisher"].labels, scores["update"].labels) == (targets, "none")


def test_michel_by_layer_has_unit_norm_and_the_same_order() -> None:
    scores = sweep(tiny(), ToyTask(6), ["michel", "michel-normalised"])
    for part in ("heads", "neurons"):
        raw, normalised = getattr(scores["michel"].values, part), getattr(scores["michel-normalised"].values, part)
        for a, b in zip(raw, normalised, strict=True):
            np.testing.assert_allclose(b, a / np.linalg.norm(a))


def test_michel_by_token_bounds_michel_by_example() -> None:
    """|sum| <= sum of absolutes, for one example exactly: token mean times tokens >= |gate gradient|."""
    encoder, task = tiny(), ToyTask(1)
    scores = sweep(encoder, task, ["michel", "michel-token"])
    tokens = len(task.rows[0]["ids"])
    by_token, by_example = (flat(scores[m].values, "heads") for m in ("michel-token", "michel"))
    assert (by_token * tokens >= by_example * (1 - 1e-5)).all()
    assert (by_token * tokens > by_example * 1.01).any()


def test_a_model_that_was_cut_can_be_scored_again() -> None:
    encoder = tiny()
    full = encoder.shape
    from asc_core.values import Plan

    smaller = encoder.cut(Plan(full, ((), (0, 2), (1,)), (tuple(range(5)), (), (3, 4)), (0, 1, 2)))
    gradients = single_example_gradients(smaller, ToyTask(5))
    scores = sweep(smaller, ToyTask(5))
    np.testing.assert_allclose(
        flat(scores["fisher"].values, "neurons"), (gradients["neurons"] ** 2).mean(0), rtol=2e-3, atol=1e-7
    )
    assert [len(h) for h in scores["update"].values.heads or ()] == [0, 2, 1]
