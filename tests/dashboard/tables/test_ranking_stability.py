from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dashboard.charts.palette import DARK, LIGHT, Palette
from dashboard.charts.stability import stability_chart
from dashboard.tables.ranking_stability import ENOUGH, Stability, stability_of
from tests.dashboard.synthetic import moved, scores


def known(now: float, examples: int = 100, method: str = "fisher") -> Stability:
    return Stability(method, np.array([examples]), np.array([now]), False)


def test_as_many_examples_as_are_predicted_are_enough() -> None:
    for now in (0.3, 0.8, 0.94, 0.99):
        one = known(now)
        reached = one.at(np.array([one.enough - 1, one.enough]))
        assert reached[0] - 1e-12 < ENOUGH <= reached[1] + 1e-12


def test_the_forecast_passes_through_what_is_known_and_follows_the_spearman_brown_formula() -> None:
    one = known(0.6)
    np.testing.assert_allclose(one.at(np.array([100, 200])), [0.6, 2 * 0.6 / (1 + 0.6)])


def test_the_forecast_holds_for_simulated_rankings() -> None:
    """Scores of 400 parts from n and from 4 n examples, twice each: the second correlation follows from the first."""
    random = np.random.default_rng(0)
    true = random.standard_normal(400)

    def correlation(examples: int) -> float:
        ranks = [np.argsort(np.argsort(true + random.standard_normal(400) * 20 / np.sqrt(examples))) for _ in range(2)]
        return float(np.corrcoef(ranks)[0, 1])

    few, many = (np.mean([correlation(n) for _ in range(20)]) for n in (200, 800))
    assert known(float(few), 200).at(np.array([800]))[0] == pytest.approx(many, abs=0.03)


def test_narrow_intervals_make_a_stable_ranking_and_wide_ones_do_not() -> None:
    made = scores()
    values = made.values
    narrow = replace(made, low=moved(values, -1e-4), high=moved(values, 1e-4))
    wide = replace(made, low=moved(values, -5), high=moved(values, 5))
    found = [stability_of(one, "heads") for one in (narrow, wide)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].now > 0.99
    assert found[1].now < 0.3
    assert not found[0].watched


def test_a_watched_sweep_is_shown_as_it_was() -> None:
    details = {"stability.examples": np.array([64, 128]), "stability.heads": np.array([0.7, 0.9])}
    one = stability_of(replace(scores(), details=details), "heads")
    assert one is not None
    assert one.watched
    assert (one.examples.tolist(), one.values.tolist()) == ([64, 128], [0.7, 0.9])


def test_methods_that_look_at_no_data_have_no_stability() -> None:
    made = scores()
    assert stability_of(replace(made, examples=0), "heads") is None
    assert stability_of(replace(made, low=None, high=None), "heads") is None
    assert stability_of(scores(parts=("layers",)), "heads") is None


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_the_chart_lets_the_method_in_view_stand_out(colours: Palette) -> None:
    watched = Stability("michel", np.array([64, 128]), np.array([0.5, 0.7]), True)
    figure = stability_chart([watched, known(0.8, 128)], "michel", colours)
    seen = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [trace.line.color == colours.cut for trace in seen] == [False, True]
    assert list(seen[1].x) == [64, 128]
    assert seen[0].marker.color == colours.page  # hollow: from intervals
