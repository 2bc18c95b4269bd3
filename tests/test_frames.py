"""Values as tables and in a line: what a researcher sees of them in a shell and in a notebook."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.study import Study
from asc_core.values import Estimate, PartValues, Plan, Provenance, Scores, Shape
from tests.tiny import tiny

SHAPE = Shape("bert", 24, 6, heads=(4, 2, 3), neurons=(20, 0, 5), rows=(0, 1, 2))
BERT_LARGE = Shape("bert", 1024, 64, heads=(16,) * 24, neurons=(4096,) * 24, rows=tuple(range(24)))


def scores(shape: Shape = SHAPE, task: str = "mood", intervals: bool = True, seed: int = 0) -> Scores:
    draw = np.random.default_rng(seed)
    values = PartValues(
        heads=tuple(draw.random(n) for n in shape.heads),
        neurons=tuple(draw.random(n) for n in shape.neurons),
        layers=draw.random(shape.layers),
    )
    ends = PartValues(heads=tuple(value - 0.1 for value in values.heads or ())) if intervals else None
    return Scores("fisher", values, shape, "w", task, "train", 64, labels="gold", low=ends, notes="as <b>guessed</b>")


def estimate(**changes: object) -> Estimate:
    given = {"metric": "accuracy", "value": 0.5, "interval": (0.4, 0.6), "split": "test", "examples": 10, "total": 20}
    return Estimate(**given | changes)  # type: ignore[arg-type]


def test_scores_have_one_row_a_part_with_its_interval_where_there_is_one() -> None:
    made = scores()
    frame = made.to_frame()
    assert list(frame.columns) == ["kind", "layer", "index", "score", "low"]
    assert dict(frame.kind.value_counts()) == {"neurons": 25, "heads": 9, "layers": 3}
    assert made.values.heads is not None
    for layer, values in enumerate(made.values.heads):
        rows = frame[(frame.kind == "heads") & (frame.layer == layer)]
        assert rows["index"].tolist() == list(range(len(values)))
        assert rows.score.tolist() == values.tolist()
        assert np.allclose(rows.score - rows.low, 0.1)
    assert frame[frame.kind == "layers"]["index"].isna().all()
    assert frame[frame.kind != "heads"].low.isna().all()


def test_kinds_are_chosen_and_a_method_without_any_gives_an_empty_frame() -> None:
    assert set(scores().to_frame(["heads", "layers"]).kind) == {"heads", "layers"}
    nothing = Scores("none", PartValues(), SHAPE, "w", "t", "train", 0).to_frame()
    assert nothing.empty
    assert list(nothing.columns) == ["kind", "layer", "index", "score"]


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_plan_is_what_its_frame_keeps(data: st.DataObject) -> None:
    masks = {
        kind: [np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool) for n in counts]
        for kind, counts in (("heads", SHAPE.heads), ("neurons", SHAPE.neurons))
    }
    layers = np.array([True, *data.draw(st.lists(st.booleans(), min_size=2, max_size=2))])
    plan = Plan.from_masks(SHAPE, masks["heads"], masks["neurons"], layers)
    frame = plan.to_frame()
    again = {
        kind: [frame[(frame.kind == kind) & (frame.layer == layer)].kept.to_numpy(bool) for layer in range(3)]
        for kind in masks
    }
    kept = frame[frame.kind == "layers"].kept.to_numpy(bool)
    assert Plan.from_masks(SHAPE, again["heads"], again["neurons"], kept) == plan


def test_an_estimate_is_a_row_with_the_ends_of_its_intervals() -> None:
    found = estimate(difference=-0.1, difference_interval=(-0.2, 0.0)).to_frame()
    assert len(found) == 1
    assert found.loc[0, ["low", "high", "difference_low", "difference_high"]].tolist() == [0.4, 0.6, -0.2, 0.0]
    assert estimate().to_frame().difference.isna().all()


def test_a_study_has_one_row_a_result_and_says_how_much_it_holds(tmp_path: Path) -> None:
    study = Study.open(tmp_path)
    assert study.to_frame().empty
    study.save_scores(scores())
    study.save_evaluation("w", "k1", "mood", "test", estimate(), cost={"flops": 3.0}, name="half")
    study.save_evaluation("w", "k2", "mood", "test", estimate(value=0.25))
    frame = study.to_frame()
    assert frame.recipe_key.tolist() == ["k2", "k1"]
    assert frame.value.tolist() == [0.25, 0.5]
    assert frame["cost.flops"].tolist()[1] == 3.0
    assert "1 scores, 2 results" in study._repr_html_()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (scores(BERT_LARGE), "384 heads, 98304 neurons, 24 layers; 64 train examples, labels: gold"),
        (scores(BERT_LARGE).values, "384 heads"),
        (Plan.full(BERT_LARGE, Provenance(method="obs", task="nli")), "24 of 24 layers, 384 of 384 heads"),
        (estimate(difference=-0.1, difference_interval=(-0.2, 0.0)), "accuracy 50.0 % [40.0 %, 60.0 %], -10.0 points"),
        (estimate(notes=("a", "b")), "on 10 of 20 test examples; 2 notes"),
        (tiny(), "3 layers x 4 heads x 20 neurons"),
    ],
)
def test_a_line_says_what_there_is(value: object, said: str) -> None:
    assert said in repr(value)
    assert len(repr(value)) < 300
    assert "\n" not in repr(value)


@pytest.mark.parametrize(
    "value",
    [scores(BERT_LARGE, task="<script>"), Plan.full(BERT_LARGE), estimate(notes=("<script>",), truncated=3)],
    ids=["scores", "plan", "estimate"],
)
def test_a_notebook_shows_small_tables_in_which_names_are_text(value: Scores | Plan | Estimate) -> None:
    page = value._repr_html_()
    assert len(page) < 100_000
    assert "<script>" not in page
    assert "<b>guessed" not in page
    tags = re.findall(r"<(/?)(\w+)", page)
    for name in {name for _, name in tags}:
        assert tags.count(("", name)) == tags.count(("/", name)), name
