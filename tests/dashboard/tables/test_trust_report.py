from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asc_core.progress import ABLATING, removing
from asc_core.scores.faithfulness import report_key
from asc_core.study import Study
from dashboard.charts.palette import DARK, LIGHT, Palette
from dashboard.charts.removal import loss_curves
from dashboard.panels.trust import table
from dashboard.tables.trust_report import Effort, Report, report_of, verdict
from tests.dashboard.synthetic import SHAPE, SHARED

REMOVED = [0.0, 0.5, 1.0]


def judged(method: str, area: float | None, spearman: float, ends: list[float] | None = None) -> dict[str, Any]:
    found = {
        "parts": 12,
        "spearman": spearman,
        "spearman_interval": [spearman - 0.1, spearman + 0.1],
        "kendall": 0.7 * spearman,
        "kendall_interval": None,
        "top_overlap": 0.5,
        "top_share": 0.25,
    }
    return {
        "method": method,
        "labels": "gold",
        "split": "train",
        "examples": 64,
        "agreement": {"heads": found, "ffn": found},
        "curves": {"heads": [1.0, 1.2, 3.0]},
        "areas": {"heads": area},
        "area_intervals": {"heads": ends},
    }


def report(
    best: str | None = "fisher", as_good: tuple[str, ...] = (), ends: tuple[float, float] | None = (0.3, 0.5)
) -> Report:
    data = {
        "task": "nli",
        "weights": "w",
        "truth": {"split": "train", "examples": 48},
        "held_out": {"split": "validation", "examples": 64},
        "reliability": {"heads": 0.64},
        "ceiling": {"heads": 0.8},
        "removed": {"heads": REMOVED},
        "chance": {"heads": [1.0, 2.0, 3.0]},
        "methods": [
            judged("magnitude", 1.2, -0.2, [1.1, 1.3]),
            judged("ablation", 0.5, 1.0),
            judged("fisher", 0.4, 0.6, list(ends) if ends else None),
            judged("random", 0.9, 0.0),
            judged("michel", 0.6, 0.7, [0.5, 0.7]),
        ],
        "believe": {"heads": {"method": best, "as_good": list(as_good)}},
    }
    return Report.model_validate(json.loads(json.dumps(data)))


def test_methods_are_ranked_by_the_loss_while_parts_go_or_else_by_agreement() -> None:
    assert [m.method for m in report().ranked("heads")] == ["fisher", "ablation", "michel", "random", "magnitude"]
    assert [m.method for m in report().ranked("ffn")] == ["ablation", "michel", "fisher", "random", "magnitude"]


@pytest.mark.parametrize(
    ("made", "kind", "said"),
    [
        (report(), "heads", ["Fisher information", "40 %", "[30, 50]", "No other method is as good"]),
        (report(as_good=("michel",)), "heads", ["cannot tell it from", "Michel", "either will do"]),
        (report(as_good=("michel", "flap", "wanda", "update")), "heads", ["1 more", "any will do"]),
        (report(ends=(0.3, 1.1)), "heads", ["a hint and no finding"]),
        (report(ends=None), "heads", ["Lean towards <b>Fisher", "cannot be said", "measure on more"]),
        (report(best=None), "heads", ["No method yet", "64 validation examples"]),
        (report(), "ffn", ["Michel sensitivity", "most like exact ablation", "was not measured"]),
    ],
    ids=["one", "two", "many", "unsure", "no interval", "none", "no curve"],
)
def test_the_verdict_says_which_method_and_how_sure(made: Report, kind: str, said: list[str]) -> None:
    text = verdict(made, kind)
    for words in said:
        assert words in text


def test_neither_the_truth_nor_chance_is_ever_the_method_to_believe() -> None:
    for kind in ("heads", "ffn"):
        assert "Exact ablation</b>" not in verdict(report(), kind)
        assert "<b>Random" not in verdict(report(), kind)


def test_the_table_shows_every_method_with_its_figures_and_the_ceiling() -> None:
    text = table(report(), "heads")
    for said in ("Fisher information", "0.40", "95 % interval 0.30 to 0.50", "0.60", "is the truth here", "0.80"):
        assert said in text
    assert text.count("<tr") == 1 + 5 + 1
    assert "loss while parts go" not in table(report(), "ffn")


def test_methods_scored_after_the_report_are_missing_from_it() -> None:
    assert report().missing(["wanda", "fisher", "ablation", "ablation-metric", "flap"]) == ["wanda", "flap"]


@pytest.mark.parametrize("stored", [None, "x", {}, {"methods": []}, 3])
def test_what_is_no_report_counts_as_none(stored: Any, tmp_path: Path) -> None:
    study = Study.open(tmp_path / "study")
    study.set(report_key("w", "nli"), stored)
    assert report_of(study, "w", "nli") is None
    assert report_of(study, None, "nli") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"believe": {"heads": {"method": "unheard-of", "as_good": []}}},
        {"chance": {}},
        {"chance": {"heads": [1.0]}},
        {"chance_range": {"heads": [[1.0], [1.0]]}},
        {"removed": {"heads": [0.0, 1.0]}},
        {"removed": {"heads": []}, "chance": {"heads": []}},
    ],
)
def test_a_report_that_does_not_fit_together_counts_as_none(changed: dict[str, Any], tmp_path: Path) -> None:
    study = Study.open(tmp_path / "study")
    study.set(report_key("w", "nli"), report().model_dump())
    assert report_of(study, "w", "nli") == report()
    study.set(report_key("w", "nli"), report().model_dump() | changed)
    assert report_of(study, "w", "nli") is None


# How long it takes


def test_the_effort_counts_each_ablated_part_from_its_own_layer_upwards() -> None:
    effort = Effort.of(SHAPE, methods=2, samples=10, held_out=0)
    each_layer = 4 + 2 + 1  # heads, two sublayers, the layer
    assert effort.ablation == pytest.approx(1 + 10 * each_layer * (1 + 2 / 3 + 1 / 3))
    assert Effort.of(SHAPE, 2, 10, 0, truth_known=True).ablation == 0


def test_more_methods_and_more_examples_take_longer() -> None:
    small = Effort.of(SHAPE, 2, 64, 64).total
    assert small < Effort.of(SHAPE, 5, 64, 64).total
    assert Effort.of(SHAPE, 2, 128, 128).total == pytest.approx(2 * small, rel=0.01)
    assert Effort.of(SHARED, 2, 64, 64).layers == 0


def test_progress_runs_from_nothing_to_all_without_going_back() -> None:
    effort = Effort.of(SHAPE, 3, 64, 64)
    steps = [
        effort.done(done, 4, phase) for phase in (ABLATING, removing("heads"), removing("layers")) for done in range(5)
    ]
    assert steps[0] == 0
    assert steps[-1] == pytest.approx(effort.total)
    assert np.all(np.diff(steps) >= 0)


# The curves


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_the_best_method_and_the_truth_stand_out_among_the_curves(colours: Palette) -> None:
    curves = {"Fisher": [1.0, 1.1, 3.0], "Magnitude": [1.0, 9.0, 3.0], "Exact ablation": [1.0, 1.2, 3.0]}
    band = [1.0, 1.5, 3.0], [1.0, 2.5, 3.0]
    figure = loss_curves(REMOVED, [1.0, 2.0, 3.0], band, curves, "Fisher", "Exact ablation", colours)
    drawn = {
        trace.hovertext[0].partition("</b>")[0].removeprefix("<b>"): trace for trace in figure.data if trace.hoverinfo
    }
    assert drawn["Fisher"].line.color == colours.cut
    assert drawn["Exact ablation"].line.color == colours.ink
    assert drawn["Magnitude"].line.width == 1
    assert list(drawn["Fisher"].x) == [0, 50, 100]
    shaded = next(trace for trace in figure.data if trace.fill == "tonexty")
    assert list(shaded.y) == band[1]
    assert list(figure.data[0].y) == band[0], "the band lies between the lowest and the highest random order"
    assert figure.layout.yaxis.range[1] < 4, "an order that is much worse than chance does not flatten the others"
