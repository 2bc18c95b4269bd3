"""Which cells are marked as undecided, and the table of all parts."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from asc_core.plan import Part, by_share, threshold_of
from asc_core.values import PartValues, Plan, Scores
from dashboard.state.cut_settings import CutSettings
from dashboard.tables.parts import csv_of, parts_table
from dashboard.tables.undecided import PartStates, at_plan, at_share, cut_in_view
from tests.dashboard.synthetic import SHAPE, SHARED, UNEVEN, moved, scores

KINDS = ("heads", "attention", "ffn", "layers", "neurons")


def counted(made: Scores = scores()) -> Scores:
    """Heads that score 0, 1, ..., 11 with intervals of +-1.5; nothing else."""
    values = PartValues(heads=tuple(np.arange(4.0) + 4 * row for row in range(3)))
    return replace(made, values=values, low=moved(values, -1.5), high=moved(values, 1.5))


def test_undecided_are_the_parts_whose_interval_crosses_the_share() -> None:
    cut = at_share(counted(), 0.5)
    assert np.flatnonzero(cut.removed["heads"]).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(cut.undecided["heads"]).tolist() == [5, 6, 7]
    assert cut.cells(SHAPE) == {Part("heads", 1, 1), Part("heads", 1, 2), Part("heads", 1, 3)}


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_nothing_is_undecided_where_nothing_would_go(share: float) -> None:
    cut = at_share(counted(), share)
    assert not cut.removed
    assert not cut.cells(SHAPE)


def test_scores_without_intervals_leave_nothing_undecided_but_still_say_what_goes() -> None:
    cut = at_share(replace(counted(), low=None, high=None), 0.5)
    assert cut.removed["heads"].sum() == 6
    assert not cut.cells(SHAPE)


def test_a_plan_is_judged_where_its_threshold_falls() -> None:
    made = counted()
    plan = by_share(made, 0.75, None, scope="global", min_heads=0)
    cut = at_plan(made, plan)
    assert threshold_of(made, plan, "heads") == 3
    assert np.flatnonzero(cut.removed["heads"]).tolist() == [0, 1, 2]
    assert np.flatnonzero(cut.undecided["heads"]).tolist() == [2, 3, 4]
    each = at_plan(made, by_share(made, 0.5, None, scope="layer", min_heads=0), each_layer=True)
    assert np.flatnonzero(each.undecided["heads"]).tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11]


def test_heads_of_a_layer_that_goes_are_gone_and_not_undecided() -> None:
    cut = at_plan(counted(), Plan.full(SHAPE).drop(1))
    assert np.flatnonzero(cut.removed["heads"]).tolist() == [4, 5, 6, 7]
    assert not any(part.row == 1 for part in cut.cells(SHAPE))


def test_a_kind_that_a_plan_does_not_cut_has_no_cut() -> None:
    cut = at_plan(scores(), by_share(scores(), 0.5, None))
    assert set(cut.removed) == {"heads"}
    assert set(cut.undecided) == {"heads"}


def test_layers_that_share_weights_are_marked_in_the_row_that_they_run_on() -> None:
    made = scores(SHARED, parts=("layers",))
    assert {part.row for part in at_share(made, 0.5).cells(SHARED)} <= {0}


def test_tunes_cut_counts_for_its_own_scores_and_the_share_for_all_others() -> None:
    made = counted()
    plan = by_share(made, 0.25, None, scope="global", min_heads=0)
    study = SimpleNamespace(plan={plan.key: plan}.get)

    def cut(application: str, method: str, plan_key: str | None) -> PartStates:
        settings = CutSettings("nli", "fisher", rule="share", everywhere=True)
        session = SimpleNamespace(settings=settings, plan_key=plan_key, study=study)
        return cut_in_view(cast(Any, session), application, replace(made, method=method), 0.5)

    assert cut("nli", "fisher", plan.key).plan == plan
    assert cut("nli", "fisher", plan.key).removed["heads"].sum() == 9
    for other in (("qa", "fisher", plan.key), ("nli", "michel", plan.key), ("nli", "fisher", None)):
        assert cut(*other).plan is None
        assert cut(*other).removed["heads"].sum() == 6


# The table


def test_the_table_has_every_part_as_people_count() -> None:
    made = scores(UNEVEN)
    table = parts_table(made, at_share(made, 0.4), KINDS)
    assert table["kind"].value_counts().to_dict() == {
        "head": 6,
        "attention sublayer": 3,
        "FFN sublayer": 3,
        "layer": 3,
        "neuron": 25,
    }
    heads = table[table["kind"] == "head"]
    assert list(zip(heads["layer"], heads["number"], strict=True)) == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2)]
    assert made.values.heads is not None
    np.testing.assert_allclose(heads["score"], np.concatenate(made.values.heads))
    assert heads["rank"].tolist() == (6 - np.argsort(np.argsort(heads["score"]))).tolist()
    np.testing.assert_allclose(table["high"] - table["low"], 0.1)


def test_the_table_and_the_map_agree_on_what_is_undecided() -> None:
    made = scores()
    cut = at_share(made, 0.3)
    heads = parts_table(made, cut, ("heads",))
    marked = heads[heads["undecided"]]
    listed = {
        Part("heads", layer - 1, number - 1) for layer, number in zip(marked["layer"], marked["number"], strict=True)
    }
    assert listed == {part for part in cut.cells(SHAPE) if part.kind == "heads"}
    assert listed


def test_the_file_holds_the_table_and_where_it_comes_from(tmp_path: Path) -> None:
    made = scores()
    read = pd.read_csv(io.BytesIO(csv_of(made, at_share(made, 0.3), ("heads", "layers"))))
    assert len(read) == 15
    assert set(read["task"]) == {"nli"}
    assert set(read["examples"]) == {64}
    assert {"kind", "layer", "number", "score", "low", "high", "undecided"} <= set(read.columns)
    np.testing.assert_allclose(read["score"][:4], made.values.heads[0])  # type: ignore[index]
