from __future__ import annotations

import re
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import COUNTED, CostModel, by_budget, by_threshold, smallest_share, threshold_of
from asc_core.values import PartValues, Plan, Scores
from tests.plan.builders import (
    cost_model_of,
    encoders,
    every_plan,
    hands,
    keeps,
    scores_of,
    shape_of,
    shapes,
    total_score,
)

budgets = st.sampled_from(COUNTED)
shares = st.integers(0, 100).map(lambda percent: percent / 100)


def affordable(model: CostModel, plan: Plan, keep: float, budget: str) -> bool:
    return model.total(plan, budget) <= Fraction(repr(keep)) * model.dense_total(budget)


@given(encoders(), shares, budgets, st.integers(0, 2), st.data())
def test_a_budget_is_never_exceeded_and_hand_set_parts_are_respected(
    encoder: tuple[Scores, CostModel], keep: float, budget: str, min_heads: int, data: st.DataObject
) -> None:
    scores, model = encoder
    kept, cut = data.draw(hands(scores.shape))
    settings = {"budget": budget, "min_heads": min_heads, "keep_parts": kept, "remove_parts": cut}
    smallest = smallest_share(scores, model, **settings)
    plan = by_budget(scores, model, max(keep, smallest), **settings)
    assert affordable(model, plan, max(keep, smallest), budget)
    assert all(keeps(plan, part) for part in kept)
    assert not any(keeps(plan, part) for part in cut)
    for row, heads in enumerate(plan.heads):
        left = scores.shape.heads[row] - sum(part[:2] == ("heads", row) for part in cut)
        assert len(heads) >= min(min_heads, left)


@given(encoders(), shares, budgets, st.data())
def test_no_removed_part_would_still_fit(
    encoder: tuple[Scores, CostModel], keep: float, budget: str, data: st.DataObject
) -> None:
    scores, model = encoder
    _, cut = data.draw(hands(scores.shape))
    keep = max(keep, smallest_share(scores, model, budget, remove_parts=cut))
    plan = by_budget(scores, model, keep, budget, remove_parts=cut)
    for kind in ("heads", "neurons"):
        for row, kept in enumerate(getattr(plan, kind)):
            for number in set(range(getattr(scores.shape, kind)[row])) - set(kept):
                if (kind, row, number) not in cut:
                    bigger = plan.restore(row, **{kind[:-1]: number})
                    assert not affordable(model, bigger, keep, budget)


@given(encoders(), shares, shares, budgets)
def test_a_larger_budget_never_buys_less(
    encoder: tuple[Scores, CostModel], one: float, other: float, budget: str
) -> None:
    scores, model = encoder
    smallest = smallest_share(scores, model, budget)
    less, more = sorted((max(one, smallest), max(other, smallest)))
    bought = [total_score(scores, by_budget(scores, model, k, budget, one_scale=True)) for k in (less, more)]
    assert bought[0] <= bought[1] + 1e-9


@given(shapes(), st.sampled_from(["fisher", "random"]), budgets)
def test_the_whole_budget_buys_the_whole_encoder(shape: object, method: str, budget: str) -> None:
    scores, model = scores_of(shape, method=method), cost_model_of(shape)  # type: ignore[arg-type]
    heads, neurons = (tuple(-v for v in kind) for kind in (scores.values.heads, scores.values.neurons))  # type: ignore
    negative = replace(scores, values=PartValues(heads, neurons))
    assert by_budget(scores, model, 1.0, budget).keeps_all
    assert by_budget(negative, model, 1.0, budget).keeps_all


@pytest.mark.parametrize("budget", COUNTED)
@pytest.mark.parametrize(
    ("heads", "neurons", "rows", "window"),
    [
        ([2, 2], [4, 3], None, ()),
        ([3, 1, 2], [2, 0, 3], None, (None, 4, 4)),
        ([2, 2, 2], [2, 2, 1], None, (None, 4, 11)),
        ([3], [6], [0, 0], ()),
    ],
    ids=["alike", "local attention", "three costs", "shared weights"],
)
def test_selection_is_as_good_as_brute_force(
    heads: list[int], neurons: list[int], rows: list[int] | None, window: tuple, budget: str
) -> None:
    shape = shape_of(heads, neurons, rows)
    model = cost_model_of(shape, window=window)
    plans = every_plan(shape)
    costs = np.array([model.total(plan, budget) for plan in plans])
    for seed in range(3):
        scores = scores_of(shape, seed)
        totals = np.array([total_score(scores, plan) for plan in plans])
        for keep in (0.3, 0.5, 0.7, 0.85, 0.95):
            limit = Fraction(repr(keep)) * model.dense_total(budget)
            if costs.min() > limit:
                continue
            best = totals[costs <= int(limit)].max()
            assert total_score(scores, by_budget(scores, model, keep, budget)) == pytest.approx(best)


def test_selection_is_as_good_as_brute_force_with_hand_set_parts_and_a_minimum() -> None:
    shape = shape_of([3, 2], [4, 4])
    scores, model = scores_of(shape, 3), cost_model_of(shape)
    kept, cut = {("neurons", 0, 2)}, {("heads", 0, 1)}
    allowed = [
        plan
        for plan in every_plan(shape)
        if all(keeps(plan, p) for p in kept) and not any(keeps(plan, p) for p in cut) and min(map(len, plan.heads)) >= 1
    ]
    for keep in (0.45, 0.6, 0.8):
        best = max(total_score(scores, plan) for plan in allowed if affordable(model, plan, keep, "flops"))
        plan = by_budget(scores, model, keep, min_heads=1, keep_parts=kept, remove_parts=cut)
        assert total_score(scores, plan) == pytest.approx(best)


def test_many_different_costs_are_still_close_to_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = shape_of([4] * 6, [0] * 6)
    scores, model = scores_of(shape, 1), cost_model_of(shape, window=(None, 2, 4, 7, 11, 19))
    exact = [total_score(scores, by_budget(scores, model, k)) for k in (0.3, 0.5, 0.7)]
    monkeypatch.setattr("asc_core.plan.knapsack.FRONT_LIMIT", 1)
    for keep, best in zip((0.3, 0.5, 0.7), exact, strict=True):
        plan = by_budget(scores, model, keep)
        assert affordable(model, plan, keep, "flops")
        assert 0.9 * best <= total_score(scores, plan) <= best + 1e-9


def test_a_share_written_as_a_decimal_is_met_exactly() -> None:
    shape = shape_of([10], [0])
    for tenths in range(11):
        assert len(by_budget(scores_of(shape), cost_model_of(shape), tenths / 10).heads[0]) == tenths


def test_methods_without_one_scale_keep_about_the_same_share_of_both_kinds() -> None:
    shape = shape_of([8] * 6, [400] * 6)
    model = cost_model_of(shape)
    for method in ("random", "michel", "magnitude", "update"):
        plan = by_budget(scores_of(shape, method=method, kinds="heads neurons"), model, 0.5)
        assert sum(map(len, plan.heads)) / 48 == pytest.approx(0.5, abs=0.05)
        assert sum(map(len, plan.neurons)) / 2400 == pytest.approx(0.5, abs=0.05)
        assert "rank" in (plan.provenance.rule or "")
    assert "rank" not in (by_budget(scores_of(shape), model, 0.5).provenance.rule or "")


@given(encoders(), budgets)
def test_below_the_reachable_the_message_says_what_is_reachable(encoder: tuple[Scores, CostModel], budget: str) -> None:
    scores, model = encoder
    forced = {("heads", 0, 0)}
    with pytest.raises(UserError) as refused:
        by_budget(scores, model, 0.0, budget, keep_parts=forced)
    found = re.search(r"(\d\.\d{4}) is left", str(refused.value))
    assert found
    smallest = float(found[1])
    assert smallest == smallest_share(scores, model, budget, keep_parts=forced)
    by_budget(scores, model, smallest, budget, keep_parts=forced)
    if smallest > 0.0002:
        with pytest.raises(UserError, match="out of reach"):
            by_budget(scores, model, smallest - 0.0002, budget, keep_parts=forced)


@pytest.mark.parametrize("kinds", ["layers", "attention ffn", "heads", "neurons"])
@given(shapes(), shares, budgets, st.integers(0, 99))
def test_methods_that_score_only_some_kinds_stay_within_the_budget_too(
    kinds: str, shape: object, keep: float, budget: str, seed: int
) -> None:
    scores, model = scores_of(shape, seed, "update", kinds), cost_model_of(shape)  # type: ignore[arg-type]
    keep = max(keep, smallest_share(scores, model, budget))
    plan = by_budget(scores, model, keep, budget)
    assert affordable(model, plan, keep, budget)
    full = Plan.full(scores.shape)
    if kinds == "layers":
        assert (plan.heads, plan.neurons) == (full.heads, full.neurons)
    elif kinds == "attention ffn":
        assert all(
            kept in ((), whole)
            for kept, whole in zip(plan.heads + plan.neurons, full.heads + full.neurons, strict=True)
        )
    else:
        other = "neurons" if kinds == "heads" else "heads"
        assert getattr(plan, other) == getattr(full, other)


def test_layers_are_the_largest_best_set_that_fits() -> None:
    shape = shape_of([2] * 6, [4] * 6)
    scores, model = scores_of(shape, 2, "update", "layers"), cost_model_of(shape)
    ranked = np.argsort(-scores.values.layers, kind="stable")  # type: ignore[operator]
    for keep, count in ((0.17, 1), (0.5, 3), (0.66, 3), (0.67, 4), (1.0, 6)):
        assert by_budget(scores, model, keep).layers == tuple(sorted(ranked[:count].tolist()))
    with pytest.raises(UserError, match=r"0\.1667 is left"):
        by_budget(scores, model, 0.16)


def test_layers_of_asc_follow_its_own_rule_at_the_threshold_that_fits() -> None:
    similarity = np.eye(5)
    similarity[1, 2] = 0.9
    similarity[2, 3] = 0.95  # at 0.9 no longer seen: state 2 is gone before
    similarity[0, 3], similarity[0, 4], similarity[0, 1] = 0.8, 0.5, 0.1
    shape = shape_of([2] * 4, [4] * 4)
    scores = Scores("asc-b", PartValues(layers=np.ones(4)), shape, "w", "t", "train", 8, similarity=similarity)
    model = cost_model_of(shape)
    assert by_budget(scores, model, 1.0).layers == (0, 1, 2, 3)
    assert by_budget(scores, model, 0.75).layers == (0, 1, 3)
    assert by_budget(scores, model, 0.5).layers == (0, 3)
    assert by_budget(scores, model, 0.25).layers == (0,)
    assert by_budget(scores, model, 0.5, keep_parts={("layers", 2)}).layers == (0, 2)
    similarity[0, 1:] = 0.8, 0.8, 0.7, 0.7  # the rule alone would go from two layers to none at once
    assert by_budget(scores, model, 0.25).layers == (2,)
    assert "ASC greedy" in (by_budget(scores, model, 0.5).provenance.rule or "")


def test_shared_layers_lose_iterations() -> None:
    shape = shape_of([2], [4], rows=[0] * 6)
    scores, model = scores_of(shape, 0, "update", "layers"), cost_model_of(shape)
    assert by_budget(scores, model, 0.5).layers == (0, 1, 2)
    assert by_budget(scores, model, 0.99).layers == (0, 1, 2, 3, 4)
    with pytest.raises(UserError, match=r"1\.0000 is left"):
        by_budget(scores, model, 0.9, "parameters")


def test_parts_of_a_layer_cut_by_hand_cost_nothing() -> None:
    shape = shape_of([2, 2], [4, 4])
    plan = by_budget(scores_of(shape), cost_model_of(shape), 0.5, remove_parts={("layers", 0)})
    assert plan.layers == (1,)
    assert (len(plan.heads[1]), len(plan.neurons[1])) == (2, 4)


def test_the_cut_of_a_budget_is_a_threshold() -> None:
    shape = shape_of([4] * 3, [20] * 3)
    rng = np.random.default_rng(0)
    values = PartValues(tuple(rng.random(4) * 9 for _ in range(3)), tuple(rng.random(20) for _ in range(3)))
    scores = Scores("fisher", values, shape, "w", "t", "train", 8)
    plan = by_budget(scores, cost_model_of(shape), 0.6)
    cuts = {kind: threshold_of(scores, plan, kind) for kind in ("heads", "neurons")}
    assert by_threshold(scores, cuts) == plan  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 1.5}, "between 0 and 1"),
        ({"keep": float("nan")}, "between 0 and 1"),
        ({"keep": 0.5, "budget": "speed"}, "flops, parameters, bytes"),
        ({"keep": 0.5, "level": "rows"}, "blocks, sublayers, layers"),
        ({"keep": 0.5, "remove_parts": {("layers", 0), ("layers", 1)}, "level": "layers"}, "keep at least one"),
        ({"keep": 0.5, "remove_parts": {("heads", 0, 9)}}, "no head 9 in layer 0"),
        ({"keep": 0.5, "remove_parts": {("tails", 0, 0)}}, "no parts called 'tails'"),
        ({"keep": 0.5, "keep_parts": {("ffn", 2)}}, "no layer 2"),
        (
            {"keep": 0.5, "keep_parts": {("ffn", 1)}, "remove_parts": {("neurons", 1, 3)}},
            "Neuron 3 of layer 1 is to be",
        ),
    ],
)
def test_questions_that_make_no_sense_are_refused(arguments: dict, message: str) -> None:
    shape = shape_of([2, 2], [4, 4])
    with pytest.raises(UserError, match=message):
        by_budget(scores_of(shape), cost_model_of(shape), **arguments)


def test_scores_that_do_not_fit_are_refused() -> None:
    shape = shape_of([2, 2], [4, 4])
    model = cost_model_of(shape)
    with pytest.raises(UserError, match="the cost model is for"):
        by_budget(scores_of(shape_of([2], [4])), model, 0.5)
    broken = Scores("fisher", PartValues(heads=(np.ones(2), np.full(2, np.nan))), shape, "w", "t", "train", 8)
    with pytest.raises(UserError, match="score again"):
        by_budget(broken, model, 0.5)
    short = Scores("fisher", PartValues(heads=(np.ones(2), np.ones(1))), shape, "w", "t", "train", 8)
    with pytest.raises(UserError, match="score again"):
        by_budget(short, model, 0.5)
    with pytest.raises(UserError, match="no scores at all"):
        by_budget(Scores("empty", PartValues(), shape, "w", "t", "train", 8), model, 0.5)


def test_a_slider_on_bert_base_is_answered_at_once() -> None:
    shape = shape_of([12] * 12, [3072] * 12)
    scores, model = scores_of(shape), cost_model_of(shape)
    seconds = []
    for keep in np.linspace(0.1, 0.9, 9).tolist():
        start = time.perf_counter()
        by_budget(scores, model, keep)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1  # about 0.01 where nothing else runs
