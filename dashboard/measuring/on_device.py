"""A model for a device as a job: the largest size that fits, trained, measured, and what its file holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.evaluate import estimate, measure_by_each
from asc_core.export.device_file import FILE, device_file
from asc_core.export.device_report import disk_parts
from asc_core.export.formats.device import Device
from asc_core.recipes import Recipe
from asc_core.recipes.on_device import PASSES, Fit, largest_within
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.tasks.tagging import IntentSlots
from asc_core.values import Estimate
from dashboard.background import application_jobs
from dashboard.background.jobs import Job
from dashboard.measuring.build import build
from dashboard.measuring.measurements import TRAINING, Measurements
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

LANE = "explore"


@dataclass(frozen=True)
class Asked:
    """most: bytes. passes: over the training texts in float32; in few bits a quarter as many follow."""

    most: float
    passes: int = PASSES


@dataclass(frozen=True)
class OnDevice:
    """What a job knows so far. original: bytes of the original's weights in float32. estimates: the task's own metric
    first. parts: bytes of the file by what they are for, empty before it is made and where there is no such file. said:
    what each step did, in words."""

    fit: Fit
    original: int
    recipe: Recipe
    estimates: tuple[Estimate, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"on a device, {self.fit.bytes / 1e3:.0f} kB"


def on_device_job(
    models: LoadedModels, study: Study, application: Application, asked: Asked
) -> Callable[[Job], OnDevice]:
    """Shows the size, then the file's parts, then estimates. Training is in the study's folder: the same one, cancelled
    or killed, goes on where it was."""

    def work(job: Job) -> OnDevice:
        opened = application_jobs.opened(models, study, application, job)
        encoder, task = opened.encoder, opened.task
        key = ("device size", application.encoder, application.task, asked.most)
        fit = models.memo(key, lambda: largest_within(encoder, task, asked.most, job.progress))
        recipe = Recipe(fit.steps(task, asked.passes), application.encoder, application.name)
        found = OnDevice(fit, modeling.count(encoder.model, "float32").bytes, recipe)
        job.show(found)
        made = build(models, application, recipe, job.progress, study.path / TRAINING)
        found = replace(found, parts=file_parts(made.encoder) if fit.of_file else {}, said=made.done)
        job.show(found)
        measurements = Measurements(models, study, application, opened.cost_model)
        for one in measurements.estimates(made, recipe, found.title, job.progress):
            found = replace(found, estimates=(one,))
            job.show(found)
        for one in further_estimates(made.encoder, encoder, task, measurements.split, job):
            found = replace(found, estimates=(*found.estimates, one))
            job.show(found)
        return found

    return work


def file_parts(encoder: Encoder) -> dict[str, int]:
    """Of the file that Export writes."""
    with tempfile.TemporaryDirectory(prefix="asc-device-") as folder:
        path = Path(folder) / FILE
        device_file(encoder, modeling.PACKINGS[Device.packing]).write(path)
        return disk_parts(path)


def further_estimates(made: Encoder, original: Encoder, task: Task, split: str, job: Job) -> Iterator[Estimate]:
    """By the metrics that look at something else of an answer than the task's own: intents, slots, all of it."""
    if not isinstance(task, IntentSlots) or not task.labelled or task.own_metric is not None:
        return
    others = [task.measured_by(name) for name in IntentSlots.METRICS]
    others = [other for other in others if other.metric.name != task.metric.name]
    against, found = (measure_by_each(one, others, split, job.progress) for one in (original, made))
    for other, mine, theirs in zip(others, found, against, strict=True):
        yield estimate(mine, other.metric, theirs)
