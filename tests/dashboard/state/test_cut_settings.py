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
    CutSettings,
    fitted,
    levels_of,
    plan_of,
    recipe_of,
    repairs_of,
    smallest_keep,
    thresholds,
    toggled,
)
from dashboard.state.plan_masks import keeps
from tests.dashboard.synthetic import SHAPE, SHARED, cost_model, scores

SETTINGS = CutSettings("demo:nli", "fisher")


def planner(settings: CutSettings) -> Plan:
    return plan_of(settings, scores(), cost_model())


@pytest.mark.parametrize("budget", ["flops", "parameters", "bytes"])
@pytest.mark.parametrize("keep", [0.5, 0.75, 1.0])
def test_a_budget_is_kept(budget: str, keep: float) -> None:
    settings = replace(
        SETTINGS, budget=budget, keep=max(keep, smallest_keep(replace(SETTINGS, budget=budget), scores(), cost_model()))
    )  # type: ignore[arg-type]
    model = cost_model()
    plan = planner(settings)
    assert model.total(plan, budget) <= settings.keep * model.total(Plan.full(SHAPE), budget) + 1e-6


def test_the_slider_begins_where_a_plan_exists() -> None:
    settings = replace(SETTINGS, min_heads=2)
    least = smallest_keep(settings, scores(), cost_model())
    assert all(len(kept) >= 2 for kept in planner(replace(settings, keep=least)).heads)
    with pytest.raises(UserError):
        planner(replace(settings, keep=least - 0.02))


@pytest.mark.parametrize("multiple", [3, 4])
def test_widths_are_multiples_within_the_budget(multiple: int) -> None:
    any_width, round_ones = (
        planner(replace(SETTINGS, keep=0.6)),
        planner(replace(SETTINGS, keep=0.6, multiple=multiple)),
    )
    assert any(len(row) % multiple for row in any_width.neurons)
    assert not any(len(row) % multiple for row in round_ones.neurons if len(row) < 20)


@pytest.mark.parametrize("below", [0.0, 0.25, 0.5, 1.0])
def test_a_threshold_is_the_score_below_which_that_share_lies(below: float) -> None:
    made = scores()
    settings = replace(SETTINGS, rule="threshold", below_heads=below, below_neurons=0.0, min_heads=0)
    plan = plan_of(settings, made, cost_model())
    assert sum(map(len, plan.heads)) == round((1 - below) * 12)
    assert sum(map(len, plan.neurons)) == 60
    assert made.values.heads is not None
    limit = thresholds(settings, made)["heads"]
    assert (np.concatenate(made.values.heads) < limit).sum() == round(below * 12)


def test_shares_are_of_each_layer_or_of_the_whole() -> None:
    each = planner(replace(SETTINGS, rule="share", keep_heads=0.5, keep_neurons=0.25, min_heads=0))
    assert [len(h) for h in each.heads] == [2, 2, 2]
    assert [len(n) for n in each.neurons] == [5, 5, 5]
    anywhere = planner(replace(SETTINGS, rule="share", keep_heads=0.5, keep_neurons=0.25, everywhere=True, min_heads=0))
    assert sum(map(len, anywhere.heads)) == 6
    assert each != anywhere


def test_asc_cuts_whole_layers_by_similarity() -> None:
    made = scores(method="asc-b", parts=("layers",), similarity=True)
    settings = fitted(CutSettings("demo:nli", "asc-b", rule="threshold", similarity=0.96), made)
    assert settings.level == "layers"
    assert plan_of(settings, made, cost_model()).layers == (1,)


def test_settings_are_fitted_to_what_the_method_can_do() -> None:
    made = scores(method="asc-b", parts=("layers",), similarity=True)
    foreign = replace(SETTINGS, rule="share", kept=frozenset({Part("heads", 7, 1), Part("heads", 1, 1)}), min_heads=9)
    settings = fitted(foreign, made)
    assert (settings.rule, settings.level, settings.min_heads) == ("budget", "layers", 4)
    assert settings.kept == {Part("heads", 1, 1)}
    assert levels_of(made) == ["layers"]


@pytest.mark.parametrize("part", [Part("heads", 0, 1), Part("layers", 1), Part("ffn", 2)])
def test_a_click_changes_sides_and_another_click_gives_it_back_to_the_rule(part: Part) -> None:
    settings = replace(SETTINGS, keep=0.9)
    before = planner(settings)
    assert keeps(before, part)
    once = toggled(settings, part, before, planner)
    assert part in once.cut
    assert not keeps(planner(once), part)
    twice = toggled(once, part, planner(once), planner)
    assert keeps(planner(twice), part)
    if part.kind != "ffn":
        assert twice == settings


def test_an_ffn_goes_round() -> None:
    part = Part("ffn", 0)
    cut = toggled(SETTINGS, part, planner(SETTINGS), planner)
    kept = toggled(cut, part, planner(cut), planner)
    free = toggled(kept, part, planner(kept), planner)
    assert (cut.cut, kept.kept, free) == ({part}, {part}, SETTINGS)
    assert len(planner(kept).neurons[0]) == 20


def test_a_part_that_the_rule_would_cut_as_well_is_kept_by_hand() -> None:
    settings = replace(SETTINGS, rule="share", keep_heads=0.25, min_heads=0)
    gone = next(Part("heads", 0, n) for n in range(4) if n not in planner(settings).heads[0])
    forced = settings.forcing(gone, keep=False)
    assert toggled(forced, gone, planner(forced), planner).kept == {gone}


def test_hand_set_cells_are_respected_by_every_slider_position() -> None:
    settings = replace(
        SETTINGS, kept=frozenset({Part("heads", 0, 0)}), cut=frozenset({Part("heads", 2, 2), Part("ffn", 1)})
    )
    for keep in (0.6, 0.8, 1.0):
        plan = planner(replace(settings, keep=keep))
        assert 0 in plan.heads[0]
        assert 2 not in plan.heads[2]
        assert plan.neurons[1] == ()


def test_a_linked_plan_can_be_edited_by_hand() -> None:
    fixed = Plan.full(SHAPE).drop(0, head=0)
    settings = replace(
        SETTINGS,
        rule="fixed",
        plan_key=fixed.key,
        kept=frozenset({Part("heads", 0, 0)}),
        cut=frozenset({Part("ffn", 1), Part("layers", 2)}),
    )
    plan = plan_of(settings, scores(), cost_model(), fixed)
    assert plan == Plan(SHAPE, fixed.shape and Plan.full(SHAPE).heads, (tuple(range(20)), (), tuple(range(20))), (0, 1))
    with pytest.raises(UserError, match="not in this study"):
        plan_of(settings, scores(), cost_model(), None)


def test_layers_that_share_weights_get_a_plan_too() -> None:
    made = scores(SHARED)
    for level in levels_of(made):
        plan = plan_of(fitted(replace(SETTINGS, level=level, keep=0.8), made), made, cost_model(SHARED))
        assert plan.shape == SHARED


parts = st.frozensets(
    st.one_of(
        st.builds(Part, st.just("heads"), st.integers(0, 2), st.integers(0, 3)),
        st.builds(Part, st.sampled_from(["ffn", "layers"]), st.integers(0, 2)),
    )
)
shares = st.floats(0, 1)
drawn = st.builds(
    CutSettings,
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


@given(drawn)
def test_settings_survive_json(settings: CutSettings) -> None:
    assert CutSettings.from_json(settings.to_json()) == settings


def test_settings_that_were_stored_before_there_was_repair_have_none() -> None:
    stored = SETTINGS.to_json()
    del stored["repair"]
    assert CutSettings.from_json(stored) == replace(SETTINGS, repair="none")


def test_the_label_says_how_a_cut_is_repaired() -> None:
    forced = replace(SETTINGS, cut=frozenset({Part("heads", 0, 0)}))
    assert (forced.label, forced.name) == ("0.60 fisher* · sequential", "0.60 fisher*, repaired (sequential)")
    plain = replace(SETTINGS, repair="none")
    assert (plain.label, plain.name) == ("0.60 fisher", "0.60 fisher")


def test_repairs_are_recipes_of_their_own() -> None:
    plan = planner(SETTINGS)
    keys = {repair: recipe_of(plan, repair).key for repair in ("none", "one-shot", "sequential")}
    assert keys["none"] == plan.key
    assert len(set(keys.values())) == 3
    assert recipe_of(plan, "sequential").cut == plan
    assert recipe_of(Plan.full(SHAPE), "sequential").key == Plan.full(SHAPE).key, "where nothing is cut"


def test_layers_that_share_weights_have_a_repair_of_their_own() -> None:
    made = scores(SHARED)
    settings = fitted(replace(SETTINGS, keep=0.8), made)
    plan = plan_of(settings, made, cost_model(SHARED))
    assert settings.repair == "shared-weights"
    assert recipe_of(plan, settings.repair).summary == [{"step": "cut", "repair": "shared-weights"}]
    assert fitted(replace(SETTINGS, repair="none"), made).repair == "none"
    assert repairs_of(SHARED) == ["none", "shared-weights"]
    assert fitted(settings, scores()).repair == "sequential", "and back, where layers have weights of their own"
    assert "shared-weights" not in repairs_of(SHAPE)
    assert fitted(SETTINGS, scores(), repairable=False).repair == "none"
    assert fitted(SETTINGS, scores()).repair == "sequential"


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        {},
        {**SETTINGS.to_json(), "keep": 7},
        {**SETTINGS.to_json(), "cut": [["head", 0, 0]]},
        {**SETTINGS.to_json(), "x": 1},
        {**SETTINGS.to_json(), "repair": "glue"},
    ],
)
def test_what_are_no_settings_is_refused(data: object) -> None:
    assert CutSettings.from_json(data) is None


def test_the_runtime_of_a_latency_budget_is_kept_where_it_can_run() -> None:
    settings = replace(SETTINGS, budget="latency", runtime="onnxruntime")
    assert CutSettings.from_json(settings.to_json()) == settings
    assert "latency (onnxruntime)" in settings.label
    stored = SETTINGS.to_json()
    del stored["runtime"]
    assert CutSettings.from_json(stored) == SETTINGS, "settings of earlier versions are of torch"
    assert CutSettings.from_json(SETTINGS.to_json() | {"runtime": "tpu"}) is None
