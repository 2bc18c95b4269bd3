from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import Part
from asc_core.values import Plan
from dashboard.state.cut_settings import (
    Move,
    fitted,
    keeps,
    levels_of,
    plan_of,
    recipe_of,
    smallest_keep,
    thresholds,
    toggled,
)
from tests.dashboard.synthetic import SHAPE, SHARED, cost_model, scores

MOVE = Move("demo:nli", "fisher")


def planner(move: Move) -> Plan:
    return plan_of(move, scores(), cost_model())


@pytest.mark.parametrize("budget", ["flops", "parameters", "bytes"])
@pytest.mark.parametrize("keep", [0.5, 0.75, 1.0])
def test_a_budget_is_kept(budget: str, keep: float) -> None:
    move = replace(
        MOVE, budget=budget, keep=max(keep, smallest_keep(replace(MOVE, budget=budget), scores(), cost_model()))
    )  # type: ignore[arg-type]
    model = cost_model()
    plan = planner(move)
    assert model.total(plan, budget) <= move.keep * model.total(Plan.full(SHAPE), budget) + 1e-6


def test_the_slider_begins_where_a_plan_exists() -> None:
    move = replace(MOVE, min_heads=2)
    least = smallest_keep(move, scores(), cost_model())
    assert all(len(kept) >= 2 for kept in planner(replace(move, keep=least)).heads)
    with pytest.raises(UserError):
        planner(replace(move, keep=least - 0.02))


@pytest.mark.parametrize("multiple", [3, 4])
def test_widths_are_multiples_within_the_budget(multiple: int) -> None:
    any_width, round_ones = planner(replace(MOVE, keep=0.6)), planner(replace(MOVE, keep=0.6, multiple=multiple))
    assert any(len(row) % multiple for row in any_width.neurons)
    assert not any(len(row) % multiple for row in round_ones.neurons if len(row) < 20)


@pytest.mark.parametrize("below", [0.0, 0.25, 0.5, 1.0])
def test_a_threshold_is_the_score_below_which_that_share_lies(below: float) -> None:
    made = scores()
    move = replace(MOVE, rule="threshold", below_heads=below, below_neurons=0.0, min_heads=0)
    plan = plan_of(move, made, cost_model())
    assert sum(map(len, plan.heads)) == round((1 - below) * 12)
    assert sum(map(len, plan.neurons)) == 60
    assert made.values.heads is not None
    limit = thresholds(move, made)["heads"]
    assert (np.concatenate(made.values.heads) < limit).sum() == round(below * 12)


def test_shares_are_of_each_layer_or_of_the_whole() -> None:
    each = planner(replace(MOVE, rule="share", keep_heads=0.5, keep_neurons=0.25, min_heads=0))
    assert [len(h) for h in each.heads] == [2, 2, 2]
    assert [len(n) for n in each.neurons] == [5, 5, 5]
    anywhere = planner(replace(MOVE, rule="share", keep_heads=0.5, keep_neurons=0.25, everywhere=True, min_heads=0))
    assert sum(map(len, anywhere.heads)) == 6
    assert each != anywhere


def test_asc_cuts_whole_layers_by_similarity() -> None:
    made = scores(method="asc-b", parts=("layers",), similarity=True)
    move = fitted(Move("demo:nli", "asc-b", rule="threshold", similarity=0.96), made)
    assert move.level == "layers"
    assert plan_of(move, made, cost_model()).layers == (1,)


def test_a_move_is_fitted_to_what_the_method_can_do() -> None:
    made = scores(method="asc-b", parts=("layers",), similarity=True)
    foreign = replace(MOVE, rule="share", kept=frozenset({Part("heads", 7, 1), Part("heads", 1, 1)}), min_heads=9)
    move = fitted(foreign, made)
    assert (move.rule, move.level, move.min_heads) == ("budget", "layers", 4)
    assert move.kept == {Part("heads", 1, 1)}
    assert levels_of(made) == ["layers"]


@pytest.mark.parametrize("part", [Part("heads", 0, 1), Part("layers", 1), Part("ffn", 2)])
def test_a_click_changes_sides_and_another_click_gives_it_back_to_the_rule(part: Part) -> None:
    move = replace(MOVE, keep=0.9)
    before = planner(move)
    assert keeps(before, part)
    once = toggled(move, part, before, planner)
    assert part in once.cut
    assert not keeps(planner(once), part)
    twice = toggled(once, part, planner(once), planner)
    assert keeps(planner(twice), part)
    if part.kind != "ffn":
        assert twice == move


def test_an_ffn_goes_round() -> None:
    part = Part("ffn", 0)
    cut = toggled(MOVE, part, planner(MOVE), planner)
    kept = toggled(cut, part, planner(cut), planner)
    free = toggled(kept, part, planner(kept), planner)
    assert (cut.cut, kept.kept, free) == ({part}, {part}, MOVE)
    assert len(planner(kept).neurons[0]) == 20


def test_a_part_that_the_rule_would_cut_as_well_is_kept_by_hand() -> None:
    move = replace(MOVE, rule="share", keep_heads=0.25, min_heads=0)
    gone = next(Part("heads", 0, n) for n in range(4) if n not in planner(move).heads[0])
    forced = move.forcing(gone, keep=False)
    assert toggled(forced, gone, planner(forced), planner).kept == {gone}


def test_hand_set_cells_are_respected_by_every_slider_position() -> None:
    move = replace(MOVE, kept=frozenset({Part("heads", 0, 0)}), cut=frozenset({Part("heads", 2, 2), Part("ffn", 1)}))
    for keep in (0.6, 0.8, 1.0):
        plan = planner(replace(move, keep=keep))
        assert 0 in plan.heads[0]
        assert 2 not in plan.heads[2]
        assert plan.neurons[1] == ()


def test_a_linked_plan_can_be_edited_by_hand() -> None:
    fixed = Plan.full(SHAPE).drop(0, head=0)
    move = replace(
        MOVE,
        rule="fixed",
        plan_key=fixed.key,
        kept=frozenset({Part("heads", 0, 0)}),
        cut=frozenset({Part("ffn", 1), Part("layers", 2)}),
    )
    plan = plan_of(move, scores(), cost_model(), fixed)
    assert plan == Plan(SHAPE, fixed.shape and Plan.full(SHAPE).heads, (tuple(range(20)), (), tuple(range(20))), (0, 1))
    with pytest.raises(UserError, match="not in this study"):
        plan_of(move, scores(), cost_model(), None)


def test_layers_that_share_weights_get_a_plan_too() -> None:
    made = scores(SHARED)
    for level in levels_of(made):
        plan = plan_of(fitted(replace(MOVE, level=level, keep=0.8), made), made, cost_model(SHARED))
        assert plan.shape == SHARED


parts = st.frozensets(
    st.one_of(
        st.builds(Part, st.just("heads"), st.integers(0, 2), st.integers(0, 3)),
        st.builds(Part, st.sampled_from(["ffn", "layers"]), st.integers(0, 2)),
    )
)
shares = st.floats(0, 1)
moves = st.builds(
    Move,
    st.text(max_size=5),
    st.text(max_size=5),
    st.sampled_from(["budget", "threshold", "share", "fixed"]),
    st.sampled_from(["flops", "parameters", "bytes"]),
    st.sampled_from(["blocks", "sublayers", "layers"]),
    shares,
    shares,
    shares,
    shares,
    shares,
    shares,
    shares,
    st.booleans(),
    st.integers(0, 12),
    st.sampled_from([1, 8, 32]),
    parts,
    parts,
    st.none() | st.text(max_size=4),
    st.booleans(),
    st.sampled_from(["none", "one-shot", "sequential"]),
)


@given(moves)
def test_moves_survive_json(move: Move) -> None:
    assert Move.from_json(move.to_json()) == move


def test_moves_that_were_stored_before_there_was_repair_have_none() -> None:
    stored = MOVE.to_json()
    del stored["repair"]
    assert Move.from_json(stored) == replace(MOVE, repair="none")


def test_a_move_says_how_it_is_repaired() -> None:
    forced = replace(MOVE, cut=frozenset({Part("heads", 0, 0)}))
    assert (forced.label, forced.name) == ("0.60 fisher* · sequential", "0.60 fisher*, repaired (sequential)")
    plain = replace(MOVE, repair="none")
    assert (plain.label, plain.name) == ("0.60 fisher", "0.60 fisher")


def test_repairs_are_recipes_of_their_own() -> None:
    plan = planner(MOVE)
    keys = {repair: recipe_of(plan, repair).key for repair in ("none", "one-shot", "sequential")}
    assert keys["none"] == plan.key
    assert len(set(keys.values())) == 3
    assert recipe_of(plan, "sequential").cut == plan
    assert recipe_of(Plan.full(SHAPE), "sequential").key == Plan.full(SHAPE).key, "where nothing is cut"


def test_layers_that_share_weights_are_not_repaired() -> None:
    made = scores(SHARED)
    move = fitted(replace(MOVE, keep=0.8), made)
    plan = plan_of(move, made, cost_model(SHARED))
    assert move.repair == "none"
    assert recipe_of(plan, "sequential").key == plan.key
    assert fitted(MOVE, scores(), repairable=False).repair == "none"
    assert fitted(MOVE, scores()).repair == "sequential"


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        {},
        {**MOVE.to_json(), "keep": 7},
        {**MOVE.to_json(), "cut": [["head", 0, 0]]},
        {**MOVE.to_json(), "x": 1},
        {**MOVE.to_json(), "repair": "glue"},
    ],
)
def test_what_is_no_move_is_refused(data: object) -> None:
    assert Move.from_json(data) is None
