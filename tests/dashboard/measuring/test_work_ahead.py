"""Measured before it is asked for: in order of use, in the study, and never in anybody's way."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from asc_core.progress import Progress
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.background.jobs import Job, Jobs
from dashboard.measuring.build import quick_calibration, usual_calibration
from dashboard.measuring.measurements import Measurements
from dashboard.measuring.work_ahead import Ahead, ahead_job, prepared, wanted
from dashboard.state import applications, kept
from dashboard.state.cut_settings import CutSettings, plan_of
from dashboard.state.loaded import LoadedModels
from dashboard.widgets import page
from tests.dashboard.conftest import html_of, settled
from tests.dashboard.views.windows import Open, control, session_of

SETTINGS = CutSettings("words", "fisher", keep=0.6)


def test_the_slider_comes_first_then_a_coarse_frontier_then_what_lies_beside_it(
    shared_models: LoadedModels, added: applications.Application, scores: list[Scores]
) -> None:
    costs = shared_models.cost_model(added)
    order = list(wanted(SETTINGS, scores[0], costs, beside=True))
    assert order[0] == 0.6
    assert order[1] == 1.0
    coarse = [keep for keep in order if keep not in {round(0.5 + 0.01 * i, 2) for i in range(21)}]
    assert 5 <= len(coarse) <= 10
    assert order[-1] in (0.5, 0.7)
    assert len(set(order)) == len(order)
    assert not {0.59, 0.61} & set(wanted(SETTINGS, scores[0], costs, beside=False))


def test_what_was_measured_ahead_is_there_when_it_is_asked_for(
    shared_models: LoadedModels, scored: Study, added: applications.Application, scores: list[Scores]
) -> None:
    jobs = Jobs()
    try:
        work = ahead_job(shared_models, scored, [Ahead(added, scores[0], SETTINGS)], jobs)
        jobs.attach("me", scored.path, lambda: True)
        job = jobs.start("me", "ahead", "x", "Working ahead", work)
        assert job.wait(60)
        assert job.state == "done", job.details
        measurements = Measurements(shared_models, scored, added, shared_models.cost_model(added))
        for keep in wanted(SETTINGS, scores[0], measurements.cost_model, beside=False):
            settings = replace(SETTINGS, keep=keep)
            stored = measurements.stored(settings.recipe(plan_of(settings, scores[0], measurements.cost_model)))
            assert stored is not None
            assert stored.complete
        assert kept.needed_tokens(scored, shared_models.encoder(added), shared_models.task(added)).get()
    finally:
        jobs.shutdown()


def test_it_lets_go_as_soon_as_anyone_has_work_and_goes_on_afterwards(tmp_path: Path) -> None:
    jobs, begun, seen = Jobs(), threading.Event(), []

    def batch_after_batch(progress: Progress) -> str:
        seen.append("begun")
        begun.set()
        for _ in range(50):
            progress.step(0, 1, "")
            time.sleep(0.002)
        return "done"

    def urgent(job: Job) -> None:
        seen.append("urgent")
        time.sleep(0.1)

    try:
        for window in ("me", "you"):
            jobs.attach(window, tmp_path, lambda: True)
        job = jobs.start("me", "ahead", "x", "Ahead", lambda job: jobs.patiently(job, ["evaluate"], batch_after_batch))
        assert begun.wait(5)
        other = jobs.start("you", "evaluate", "y", "Evaluating", urgent)
        assert other.wait(5)
        assert job.wait(10)
        assert job.result == "done"
        assert seen == ["begun", "urgent", "begun"]
        cancelled = jobs.start("me", "ahead", "x", "Ahead", lambda job: jobs.patiently(job, [], batch_after_batch))
        cancelled.cancel()
        assert cancelled.wait(5)
        assert cancelled.state == "cancelled"
    finally:
        jobs.shutdown()


def test_what_is_prepared_is_what_a_slider_needs(
    shared_models: LoadedModels, scored: Study, added: applications.Application, scores: list[Scores]
) -> None:
    measurements = prepared(shared_models, scored, added, Progress())
    encoder, task = shared_models.encoder(added), shared_models.task(added)
    recipe = SETTINGS.recipe(plan_of(SETTINGS, scores[0], measurements.cost_model))
    asked = quick_calibration(recipe, encoder)
    assert asked == usual_calibration(encoder)
    assert shared_models.calibrations.known(encoder, task, **asked) is not None
    original = measurements.original()
    assert original is not None
    assert original.complete


@pytest.mark.ahead
def test_a_page_works_ahead_says_so_and_stops_when_told(scored: Study, open_page: Open, task_file: Path) -> None:
    app = settled(open_page("tune"))
    assert control(app.toggle, "tune-ahead").value
    ahead = [job for job in page.all_jobs().of(session_of(app).id) if job.lane == "ahead"]
    assert [job.state for job in ahead if not job.key.startswith("prepare")] == ["done"]
    complete = [row for row in scored.evaluations() if row["estimate"].complete]
    assert len(complete) > 20
    control(app.toggle, "tune-ahead").set_value(False)
    app.run()
    control(app.slider, "tune-keep").set_value(35)
    settled(app.run())
    assert "complete" in html_of(app)
    still = [job for job in page.all_jobs().of(session_of(app).id) if job.lane == "ahead"]
    assert len(still) == len(ahead)
