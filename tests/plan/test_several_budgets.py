"""Several budgets at once, time among them, and widths that suit the hardware."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import BUDGETS, COUNTED, CostModel, by_budget, smallest_share
from asc_core.values import Plan, Scores, Shape
from tests.plan.builders import (
    cost_model_of,
    encoders,
    every_plan,
    hands,
    keeps,
    layer_times_of,
    scores_of,
    shape_of,
    total_score,
)

pytestmark = pytest.mark.slow

some_shares = st.dictionaries(st.sampled_from(BUDGETS), st.integers(0, 100).map(lambda n: n / 100), min_size=1)


def timed(scores: Scores, model: CostModel, seed: int = 0) -> CostModel:
    return model.with_latency(layer_times_of(scores.shape, seed))


def affordable(model: CostModel, plan: Plan, shares: dict[str, float]) -> bool:
    return all(model.total(plan, b) <= Fraction(repr(keep)) * model.dense_total(b) for b, keep in shares.items())


def within_reach(shares: dict[str, float], scores: Scores, model: CostModel, **settings: object) -> dict[str, float]:
    return {b: max(keep, smallest_share(scores, model, b, **settings)) for b, keep in shares.items()}  # type: ignore[arg-type]


def suits(shape: Shape, plan: Plan, multiple: int) -> bool:
    return all(
        len(kept) % multiple == 0 or len(kept) == whole for kept, whole in zip(plan.neurons, shape.neurons, strict=True)
    )


@settings(deadline=None)
@given(encoders(), some_shares, st.integers(1, 5), st.integers(0, 2), st.data())
def test_all_budgets_hold_and_hand_set_parts_and_minimum_are_respected(
    encoder: tuple[Scores, CostModel], shares: dict[str, float], multiple: int, min_heads: int, data: st.DataObject
) -> None:
    scores, model = encoder[0], timed(*encoder)
    kept, cut = data.draw(hands(scores.shape))
    more = {"min_heads": min_heads, "keep_parts": kept, "remove_parts": cut, "round_to": multiple}
    shares = within_reach(shares, scores, model, **more)
    plan = by_budget(scores, model, shares, **more)  # type: ignore[arg-type]
    assert affordable(model, plan, shares)
    assert all(keeps(plan, part) for part in kept)
    assert not any(keeps(plan, part) for part in cut)
    for row, heads in enumerate(plan.heads):
        left = scores.shape.heads[row] - sum(part[:2] == ("heads", row) for part in cut)
        assert len(heads) >= min(min_heads, left)


@settings(deadline=None)
@given(encoders(), some_shares, st.integers(2, 5))
def test_every_width_is_a_multiple_or_the_whole(
    encoder: tuple[Scores, CostModel], shares: dict[str, float], multiple: int
) -> None:
    scores, model = encoder[0], timed(*encoder)
    shares = within_reach(shares, scores, model, round_to=multiple)
    assert suits(scores.shape, by_budget(scores, model, shares, round_to=multiple), multiple)


@settings(deadline=None)
@given(encoders(), some_shares)
def test_no_removed_part_would_still_fit(encoder: tuple[Scores, CostModel], shares: dict[str, float]) -> None:
    scores, model = encoder[0], timed(*encoder)
    shares = within_reach(shares, scores, model)
    plan = by_budget(scores, model, shares)
    for kind in ("heads", "neurons"):
        for row, kept in enumerate(getattr(plan, kind)):
            for number in set(range(getattr(scores.shape, kind)[row])) - set(kept):
                assert not affordable(model, plan.restore(row, **{kind[:-1]: number}), shares)


@pytest.mark.parametrize(
    ("heads", "neurons", "window"),
    [([2, 2], [4, 3], ()), ([3, 1], [3, 4], (None, 4)), ([2, 2, 2], [2, 2, 1], (None, 4, 11))],
    ids=["alike", "local attention", "three costs"],
)
@pytest.mark.parametrize("names", [("latency",), ("flops", "latency"), ("flops", "bytes"), BUDGETS], ids=" and ".join)
def test_selection_is_as_good_as_brute_force(
    heads: list[int], neurons: list[int], window: tuple, names: tuple[str, ...]
) -> None:
    shape = shape_of(heads, neurons)
    plans = every_plan(shape)
    rng = np.random.default_rng(1)
    for seed in range(2):
        scores = scores_of(shape, seed)
        model = timed(scores, cost_model_of(shape, window=window), seed)
        costs = {name: np.array([model.total(plan, name) for plan in plans]) for name in names}
        totals = np.array([total_score(scores, plan) for plan in plans])
        for multiple in (1, 2):
            for _ in range(3):
                drawn = {name: float(np.round(rng.uniform(0.3, 1), 2)) for name in names}
                shares = within_reach(drawn, scores, model, round_to=multiple)
                fits = np.array([suits(shape, plan, multiple) for plan in plans])
                for name, keep in shares.items():
                    fits &= costs[name] <= int(Fraction(repr(keep)) * model.dense_total(name))
                plan = by_budget(scores, model, shares, round_to=multiple)
                assert affordable(model, plan, shares)
                assert total_score(scores, plan) == pytest.approx(totals[fits].max())


@settings(deadline=None)
@given(encoders(), st.integers(0, 100).map(lambda n: n / 100), st.sampled_from(COUNTED), st.sampled_from([True, None]))
def test_a_budget_that_does_not_bind_changes_nothing(
    encoder: tuple[Scores, CostModel], keep: float, budget: str, one_scale: bool | None
) -> None:
    """The ladders of rows then answer what the knapsack of single parts answers."""
    scores, model = encoder[0], timed(*encoder)
    keep = max(keep, smallest_share(scores, model, budget))  # type: ignore[arg-type]
    alone = by_budget(scores, model, keep, budget, one_scale=True)  # type: ignore[arg-type]
    beside = by_budget(scores, model, {budget: keep, "latency": 1.0}, one_scale=True)
    assert total_score(scores, beside) == pytest.approx(total_score(scores, alone))


@settings(deadline=None)
@given(encoders(), st.integers(1, 5))
def test_all_of_every_budget_buys_the_whole_encoder(encoder: tuple[Scores, CostModel], multiple: int) -> None:
    scores, model = encoder[0], timed(*encoder)
    assert by_budget(scores, model, dict.fromkeys(BUDGETS, 1.0), round_to=multiple).keeps_all


@pytest.mark.parametrize("kinds", ["layers", "attention ffn", "heads", "neurons"])
@settings(deadline=None)
@given(encoders(), some_shares)
def test_methods_that_score_only_some_kinds_stay_within_all_budgets_too(
    kinds: str, encoder: tuple[Scores, CostModel], shares: dict[str, float]
) -> None:
    scores, model = scores_of(encoder[0].shape, encoder[0].seed, "update", kinds), timed(*encoder)
    shares = within_reach(shares, scores, model)
    try:
        plan = by_budget(scores, model, shares)
    except UserError:
        assert kinds == "layers"  # each budget has a smallest layer of its own; no one layer may suit them all
        return
    assert affordable(model, plan, shares)


def test_layers_under_two_budgets_are_the_best_set_that_fits_both() -> None:
    shape = shape_of([2, 2, 2, 2], [4, 9, 2, 5])
    scores = scores_of(shape, 3, "update", "layers")
    model = timed(scores, cost_model_of(shape, window=(None, 3, None, 3)))
    full = Plan.full(shape)
    sets = [tuple(i for i in range(4) if bits >> i & 1) for bits in range(1, 16)]
    plans = [Plan(shape, full.heads, full.neurons, layers) for layers in sets]
    worth = [float(scores.values.layers[list(plan.layers)].sum()) for plan in plans]  # type: ignore[index]
    for shares in ({"flops": 0.7, "latency": 0.8}, {"parameters": 0.8, "latency": 0.6}, {"flops": 0.5, "bytes": 0.7}):
        best = max(w for w, plan in zip(worth, plans, strict=True) if affordable(model, plan, shares))
        plan = by_budget(scores, model, shares)
        assert float(scores.values.layers[list(plan.layers)].sum()) == pytest.approx(best)  # type: ignore[index]


def test_parts_set_by_hand_go_before_widths() -> None:
    shape = shape_of([2, 2], [8, 8])
    scores, model = scores_of(shape), cost_model_of(shape)
    kept = {("neurons", 0, number) for number in range(3)}
    cut = {("neurons", 1, number) for number in range(7)}
    by_hand: dict = {"keep_parts": {*kept, ("neurons", 1, 7)}, "remove_parts": cut, "round_to": 4}
    plan = by_budget(scores, model, smallest_share(scores, model, **by_hand), **by_hand)
    assert len(plan.neurons[0]) == 4  # three by hand and the best of the others
    others = scores.values.neurons[0][3:]  # type: ignore[index]
    assert set(plan.neurons[0]) == {0, 1, 2, 3 + int(np.argmax(others))}
    assert plan.neurons[1] == (7,)  # no multiple of 4 is left


def test_a_latency_budget_cuts_what_takes_time_and_not_what_takes_flops() -> None:
    shape = shape_of([8] * 3, [64] * 3)
    scores = scores_of(shape)
    table = layer_times_of(shape)
    slow_heads = table.__class__((0, 8), (0, 900), (0, 64), (0, 100), 10, 10, 1, 9.0, "a test", 1)
    slow_neurons = table.__class__((0, 8), (0, 100), (0, 64), (0, 900), 10, 10, 1, 9.0, "a test", 1)
    for times, saved in ((slow_heads, "heads"), (slow_neurons, "neurons")):
        model = cost_model_of(shape, latency=times)
        plan = by_budget(scores, model, 0.6, "latency")
        left = {k: sum(map(len, getattr(plan, k))) / sum(getattr(shape, k)) for k in ("heads", "neurons")}
        assert left[saved] == min(left.values()) < 0.6


def test_the_rule_says_what_was_asked() -> None:
    shape = shape_of([2, 2], [8, 8])
    scores = scores_of(shape)
    model = timed(scores, cost_model_of(shape))
    rule = by_budget(scores, model, {"flops": 0.6, "latency": 0.9}, round_to=4).provenance.rule or ""
    assert "0.6 of the flops and 0.9 of the latency" in rule
    assert "multiples of 4" in rule


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": {}}, "No budget was given"),
        ({"keep": {"flops": 0.5, "latency": 1.5}}, "1.5 of the latency"),
        ({"keep": {"flops": 0.5, "speed": 0.5}}, "no budget 'speed'"),
        ({"keep": {"latency": 0.5}}, "asc latency"),
        ({"keep": 0.5, "round_to": 0}, "not of 0"),
        ({"keep": {"flops": 0.9, "parameters": 0.0}}, "0 of the parameters is out of reach"),
    ],
)
def test_questions_that_make_no_sense_are_refused(arguments: dict, message: str) -> None:
    shape = shape_of([2, 2], [4, 4])
    with pytest.raises(UserError, match=message):
        by_budget(scores_of(shape), cost_model_of(shape), **arguments)
