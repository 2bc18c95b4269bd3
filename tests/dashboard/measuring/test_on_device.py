"""A model for a device as a job: what fits, what was trained before, and what the file holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.evaluate import measure
from asc_core.evaluate.estimates import estimate
from asc_core.export import export
from asc_core.export.device_file import FILE
from asc_core.recipes import on_device
from asc_core.study import Study
from dashboard.background.jobs import Job
from dashboard.measuring.measurements import TRAINING
from dashboard.measuring.on_device import LANE, Asked, OnDevice, on_device_job
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from tests.evaluate.toy_tasks import encoder_for, toy_task

TASK = toy_task("intent-slots", train=64, validation=70, max_length=40)
ENCODER = encoder_for(TASK)
APPLICATION = Application(TASK.name, "e", "t")


@pytest.fixture(autouse=True)
def few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "LEAST", 1)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.open(tmp_path / "study")


def models() -> LoadedModels:
    return LoadedModels(lambda _: ENCODER, lambda _: TASK)


def run(study: Study, asked: Asked, cancel_at: int | None = None) -> Job:
    """In this thread. cancel_at: as soon as so many steps of training are reported."""
    job = Job("me", LANE, "device|x", "On a device")
    steps = []

    def report(done: int, total: int, what: str) -> None:
        if what == "training steps":
            steps.append(done)
            if cancel_at is not None and len(steps) > cancel_at:
                job.cancel()

    job.progress.report = report
    job.run(on_device_job(models(), study, APPLICATION, asked))
    job.reported = (len(steps), 0, "")
    return job


def test_what_is_shown_is_what_the_export_holds(study: Study, tmp_path: Path) -> None:
    job = run(study, Asked(1e9, passes=1))
    found = job.result
    assert isinstance(found, OnDevice), job.error
    made = found.recipe.made(ENCODER, TASK, folder=study.path / TRAINING).encoder
    export(made, tmp_path / "out", format="device")
    assert (tmp_path / "out" / FILE).stat().st_size == sum(found.parts.values()) == found.fit.bytes
    expected = [
        estimate(measure(made, task), task.metric, measure(ENCODER, task)).difference
        for task in map(TASK.measured_by, ("intent-accuracy", "slot-f1", "sentence-accuracy"))  # type: ignore[attr-defined]
    ]
    assert [one.difference for one in found.estimates] == pytest.approx(expected)
    assert {one.metric for one in found.estimates} == {"intent-accuracy", "slot-f1", "sentence-accuracy"}
    assert found.recipe.key in {row["recipe_key"] for row in study.evaluations()}


def test_a_cancelled_one_goes_on_where_it_was_and_ends_in_the_same_model(study: Study, tmp_path: Path) -> None:
    cancelled = run(study, Asked(1e9, passes=4), cancel_at=3)
    assert cancelled.state == "cancelled"
    assert isinstance(cancelled.latest, OnDevice)  # its size is known
    again = run(study, Asked(1e9, passes=4))
    other = run(Study.open(tmp_path / "other"), Asked(1e9, passes=4))
    assert again.reported[0] == other.reported[0] - cancelled.reported[0]
    assert again.result.estimates == other.result.estimates
    weights = [
        job.result.recipe.made(ENCODER, TASK, folder=place / TRAINING).encoder.weights
        for job, place in ((again, study.path), (other, tmp_path / "other"))
    ]
    assert weights[0] == weights[1]


def test_too_little_is_refused_with_the_least_that_there_is(study: Study) -> None:
    job = run(study, Asked(10))
    assert job.state == "failed"
    assert "the smallest size takes" in str(job.error)
    assert job.details is None
