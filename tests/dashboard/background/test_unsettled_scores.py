from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asc_core.scores import METHODS
from asc_core.scores.first_look import Unsettled
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.background.jobs import Job, Jobs
from dashboard.background.scoring_jobs import scoring_key
from dashboard.background.unsettled_scores import Scoring, scoring_now, so_far, unsettled, with_unsettled
from dashboard.state.application import Application
from tests.dashboard.synthetic import scores

ONE, TWO = Application("one", "e", "one"), Application("two", "e", "two")


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs()
    yield made
    made.shutdown()


def on(examples: int, method: str = "fisher") -> Scores:
    return replace(scores(), method=method, examples=examples)


def under_way(application: Application, *made: Scores, of: int = 512) -> Scoring:
    shown = Unsettled({one.method: one for one in made}, of)
    job = Job("a", "score", "key", "title")
    job.show(shown)
    return Scoring(application, job, shown)


def test_scoring_of_any_window_is_seen_as_long_as_it_goes_on(jobs: Jobs, tmp_path: Path) -> None:
    study, go_on, shown = Study.open(tmp_path), threading.Event(), threading.Event()

    def work(job: Job) -> None:
        job.show(Unsettled({"fisher": on(64)}, 512))
        shown.set()
        go_on.wait(10)

    job = jobs.start("a", "score", scoring_key(study, TWO, ["fisher"], 512), "title", work)
    jobs.start("a", "score", f"{tmp_path.absolute()}|one|trust|", "title", lambda job: None)
    assert shown.wait(10)
    (found,) = scoring_now(jobs, study, [ONE, TWO])
    assert (found.application, found.job) == (TWO, job)
    assert unsettled([found], "two")["fisher"][1] == "64 of 512 examples, refining"
    assert unsettled([found], "one") == {}
    assert found.is_current
    job.show(Unsettled({"fisher": on(256)}, 512))
    assert not found.is_current
    (newer,) = scoring_now(jobs, study, [TWO])
    go_on.set()
    assert job.wait(10)
    assert not newer.is_current
    assert scoring_now(jobs, study, [ONE, TWO]) == []


def test_settled_scores_stay_and_others_are_filled_in_where_they_belong() -> None:
    settled = {"fisher": [(TWO, on(512))]}
    scoring = [under_way(TWO, on(64), on(64, "update")), under_way(ONE, on(61))]
    merged, words = with_unsettled(settled, scoring, [ONE, TWO])
    assert [(a.name, s.examples) for a, s in merged["fisher"]] == [("one", 61), ("two", 512)]
    assert [(a.name, s.examples) for a, s in merged["update"]] == [("two", 64)]
    assert set(words) == {("one", "fisher"), ("two", "update")}
    assert list(merged) == [method for method in METHODS if method in merged]
    assert settled == {"fisher": settled["fisher"][:1]}, "what was given was changed"


def test_without_scoring_under_way_there_is_what_is_settled() -> None:
    settled = {"fisher": [(ONE, on(512))]}
    assert with_unsettled(settled, [], [ONE, TWO]) == (settled, {})


@pytest.mark.parametrize(
    ("examples", "said"),
    [(64, "64 of 1,024 examples, refining"), (1024, "1,024 of 1,024 examples, finishing"), (0, "not saved yet")],
)
def test_how_far_scores_are_is_said(examples: int, said: str) -> None:
    assert so_far(on(examples), 1024) == said
