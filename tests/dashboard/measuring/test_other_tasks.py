"""The same cut on other applications: last of all, and whatever becomes of one of them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from asc_core.errors import UserError
from asc_core.evaluate import measure
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.background.jobs import Job, Jobs
from dashboard.measuring import other_tasks
from dashboard.panels.other_tasks import effects_table
from dashboard.state.application import Application
from dashboard.state.cut_settings import CutSettings
from dashboard.state.loaded import LoadedModels
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import tiny

TASK = toy_task("text-classification", validation=70)
ENCODER = encoder_for(TASK)
SMALLER_ENCODER = tiny("bert", num_hidden_layers=2)


def models() -> LoadedModels:
    def encoder(name: str) -> Any:
        if name == "broken":
            raise UserError("broken is not there")
        return ENCODER if name == "e" else SMALLER_ENCODER

    return LoadedModels(encoder, lambda name: TASK)


def wait_for(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never came to that")


def started(jobs: Jobs, study: Study, others: list[Application], plan: Plan) -> Job:
    settings = CutSettings("here", "fisher", repair="none")
    work = other_tasks.other_tasks_job(models(), study, others, plan, settings, jobs)
    return jobs.start("me", other_tasks.LANE, "k", "On other applications", work)


def test_each_other_application_is_measured_or_says_why_not(tmp_path: Path) -> None:
    jobs, study = Jobs(), Study.open(tmp_path / "study")
    plan = Plan.full(ENCODER.shape).drop(1, head=0)
    others = [
        Application("text-classification", "e", "t"),
        Application("b", "broken", "t"),
        Application("c", "small", "t"),
    ]
    job = started(jobs, study, others, plan)
    assert job.wait(60)
    first, second, third = job.result
    expected = TASK.metric.value(measure(ENCODER.cut(plan), TASK).statistics)
    assert first.estimate.value == pytest.approx(expected)
    assert first.estimate.difference_interval is not None
    assert "broken is not there" in second.problem
    assert "other parts" in third.problem
    shown = effects_table(job.result, running=False)
    assert shown.count("<tr>") == 3
    again = started(jobs, study, others[:1], plan)
    assert again.wait(60)
    assert again.result[0].estimate == first.estimate
    jobs.shutdown()


def test_it_waits_for_everything_else_and_ends_when_the_cut_changes(tmp_path: Path) -> None:
    jobs, study = Jobs(), Study.open(tmp_path / "study")
    plan, gate = Plan.full(ENCODER.shape).drop(0, head=1), threading.Event()
    foreground = jobs.start("me", "evaluate", "x", "Evaluating", lambda job: gate.wait(60))
    job = started(jobs, study, [Application("text-classification", "e", "t")], plan)
    wait_for(lambda: job.latest is not None)
    time.sleep(0.3)
    assert job.latest[0].estimate is None
    jobs.cancel("me", other_tasks.LANE)
    assert job.wait(10)
    assert job.state == "cancelled"
    waiting = started(jobs, study, [Application("text-classification", "e", "t")], plan)
    gate.set()
    assert foreground.wait(10)
    assert waiting.wait(60)
    assert waiting.result[0].estimate is not None
    jobs.shutdown()
