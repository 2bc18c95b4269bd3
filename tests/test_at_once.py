"""What the benchmark of waiting waits for is what Tune's card says; what it reports is what was asked of it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from asc_core.plan import Cost
from asc_core.values import Estimate
from benchmarks.at_once import BROWSER, Ready, has_number, is_complete, is_timed, last_line, merged, of_cut, summary
from benchmarks.browser import Drawn
from dashboard.state.speed import Speed
from dashboard.widgets.result_card import costs, headline

WHOLE = Estimate("accuracy", 0.8, (0.77, 0.83), "validation", 1000, 1000, -0.02, (-0.03, -0.01))
PART = replace(WHOLE, examples=64, valid="anytime")
QUICK = replace(PART, provisional="repaired (one-shot) on 2,048 tokens")
SPEED = Speed(original=0.02, ratio=2.0, batch=1)
DENSE, HALF = Cost(10, 10, 100.0, 40), {"flops": 50.0, "parameters": 5, "bytes": 20}


def card(estimate: Estimate | None, speed: Speed | None = None) -> Drawn:
    """As the browser's script reads it from the page."""
    text = headline(estimate, WHOLE, running=True)
    table = costs(HALF, DENSE, speed, False)
    said = re.search(r"data-testid='asc-metric'>(.*?)</div>", text)
    share = re.search(r"<td class='asc-ratio'>(.*?)</td>", table)
    assert share is not None
    seen = {"metric": _plain(said[1]) if said else "", "result": _plain(text + table), "kept": share[1]}
    return Drawn.of(seen | {"scoring": "", "map": False})


def _plain(text: str) -> str:
    return re.sub("<[^>]*>", "", text)


@pytest.mark.parametrize(
    ("shown", "ready"),
    [
        (card(None), []),
        (card(replace(WHOLE, difference=None, difference_interval=None)), []),
        (card(QUICK), [has_number]),
        (card(PART), [has_number]),
        (card(WHOLE), [has_number, is_complete]),
        (card(WHOLE, SPEED), [has_number, is_complete, is_timed]),
    ],
    ids=["nothing yet", "no interval of the difference", "of a quick repair", "of a part", "of all", "with latency"],
)
def test_a_wait_ends_with_the_words_that_it_is_for(shown: Drawn, ready: list[Ready]) -> None:
    assert [one for one in (has_number, is_complete, is_timed) if one(shown)] == ready


def test_a_number_of_another_cut_is_no_answer() -> None:
    shown = card(WHOLE)
    assert shown.kept == 50
    assert of_cut(50, has_number)(shown)
    assert not of_cut(49, has_number)(shown)


def test_the_last_line_names_every_figure_whether_it_was_measured_or_not() -> None:
    found = summary({"qa_first_s": [3.0, 1.0, 2.0], "nli_complete_s": [4.0]}, busy=0.123)
    assert found["qa_first_s"].items() >= {"median": 2.0, "range": [1.0, 3.0], "rounds": 3, "busy": 0.12}.items()
    said = last_line({"figures": found, "quick_lost_more": 0.2})
    assert list(said) == [*BROWSER, "quick_lost_more"]
    assert (said["qa_first_s"], said["quick_lost_more"], said["ahead_s"]) == (2.0, 0.2, None)


def test_figures_that_were_not_asked_for_stay_as_they_were_kept() -> None:
    before = {"figures": {"ahead_s": 1, "nli_first_s": 2}, "engine": 3, "quick_lost_more": 4}
    found = merged(merged(before, {"figures": {"nli_first_s": 5}}), {"engine": 6})
    assert found == {"figures": {"ahead_s": 1, "nli_first_s": 5}, "engine": 6, "quick_lost_more": 4}
    assert merged({}, {"figures": {"ahead_s": 1}}) == {"figures": {"ahead_s": 1}}
