from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asc_core import scores
from asc_core.plan import by_budget
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.scores.obs import RemovalOrder, isotonic_values, obs_scores, removal_order
from tests.scores.toy import ToyTask
from tests.tiny import tiny


def problem(seed: int, columns: int = 12, rows: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(readout weight (5, columns), inputs (rows, columns), output_moments (5, 5)); some inputs nearly sum others."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator)
    x[:, -3:] = x[:, :3] + x[:, 3:6] + 0.1 * x[:, -3:]
    root = torch.randn(5, 5, generator=generator)
    return torch.randn(5, columns, generator=generator), x, root @ root.T


def least_error(weight: torch.Tensor, x: torch.Tensor, output_moments: torch.Tensor, gone: list[int]) -> float:
    """The weighted squared error that remains when the columns that stay, and a bias, do what they can: lstsq."""
    stay = [c for c in range(weight.shape[1]) if c not in gone]
    a = torch.cat([x[:, stay], torch.ones(len(x), 1)], 1).double()
    wanted = (x @ weight.T).double()
    error = wanted - a @ torch.linalg.lstsq(a, wanted).solution
    return float(((error @ output_moments.double()) * error).sum() / len(x))


def moments(x: torch.Tensor) -> torch.Tensor:
    a = torch.cat([x, torch.ones(len(x), 1)], 1)
    return a.T @ a / len(a)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_lost_is_what_least_squares_leaves(seed: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc_core.scores.obs.DAMPING", 1e-7)
    weight, x, output_moments = problem(seed)
    found = removal_order(weight, moments(x), output_moments, width, at_once=1)
    for count in range(len(found.order) + 1):
        gone = [block * width + i for block in found.order[:count] for i in range(width)]
        assert found.lost[count] == pytest.approx(least_error(weight, x, output_moments, gone), rel=1e-2, abs=2e-3)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_each_step_takes_the_block_that_is_missed_least(seed: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc_core.scores.obs.DAMPING", 1e-7)
    weight, x, output_moments = problem(seed)
    order = removal_order(weight, moments(x), output_moments, width, at_once=1).order.tolist()
    assert sorted(order) == list(range(12 // width))
    for count, block in enumerate(order):
        before = [b * width + i for b in order[:count] for i in range(width)]
        errors = {
            other: least_error(weight, x, output_moments, before + [other * width + i for i in range(width)])
            for other in order[count:]
        }
        assert errors[block] <= min(errors.values()) * 1.02 + 1e-3


def test_of_two_columns_that_say_the_same_only_one_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc_core.scores.obs.DAMPING", 1e-5)
    weight, x, output_moments = problem(0)
    x[:, 1], weight[:, 1] = x[:, 0], weight[:, 0]
    found = removal_order(weight, moments(x), output_moments, 1, at_once=1)
    place = {column: i for i, column in enumerate(found.order.tolist())}
    assert min(place[0], place[1]) == 0
    assert found.lost[1] < 1e-2 < np.diff(found.lost)[max(place[0], place[1])]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.randoms())
def test_values_rise_in_the_order_of_removal_and_keep_their_sum(steps: list[float], random) -> None:
    order = list(range(len(steps)))
    random.shuffle(order)
    lost = np.concatenate([[0.0], np.cumsum(steps)])
    values = isotonic_values(RemovalOrder(np.array(order), lost))
    assert (np.diff(values[order]) >= 0).all()
    assert values.sum() == pytest.approx(lost[-1], rel=1e-5, abs=1e-9)
    below = np.concatenate([[0.0], np.cumsum(values[order])])
    assert (below <= lost + 1e-6 * lost[-1] + 1e-12).all()  # a hull from below


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "albert"])
def test_scores_of_an_encoder_make_plans_by_budget(architecture: str) -> None:
    encoder, task = tiny(architecture), ToyTask(20, labelled=False)
    found = scores.sweep(encoder, task, ["obs", "magnitude"])
    assert list(found) == ["obs", "magnitude"]
    obs = found["obs"]
    assert (obs.labels, obs.examples) == ("none", 20)
    assert obs.values.heads is not None
    assert obs.values.neurons is not None
    assert obs.values.ffn is not None
    for row, count in enumerate(encoder.shape.neurons):
        assert len(obs.values.neurons[row]) == count
        assert obs.values.ffn[row] == pytest.approx(obs.values.neurons[row].sum(), rel=1e-4)
    cost_model = task_cost_model(encoder, task)
    plan = by_budget(obs, cost_model, 0.6)
    assert cost_model.cost(plan).flops <= 0.6 * cost_model.dense.flops


def test_the_same_seed_gives_the_same_scores_whatever_the_batches() -> None:
    encoder, task = tiny(), ToyTask(20)
    first, second = obs_scores(encoder, task), obs_scores(encoder, task)
    for a, b in zip(first.values.arrays().values(), second.values.arrays().values(), strict=True):
        np.testing.assert_array_equal(a, b)
