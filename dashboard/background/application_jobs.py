"""Work on a whole application: opening it, reading its data for a card, adding a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.study import Study
from asc_core.tasks import Task
from dashboard.background.jobs import Job, Work
from dashboard.state import kept
from dashboard.state.application import Application, Facts
from dashboard.state.applications import add
from dashboard.state.loaded import LoadedModels


@dataclass(frozen=True)
class Opened:
    """An application that is ready to be cut and measured."""

    encoder: Encoder
    task: Task
    cost_model: CostModel


def open_job(models: LoadedModels, study: Study, application: Application) -> Work:
    """So that `models` have it; a job's result would keep the encoder longer than they do."""

    def work(job: Job) -> None:
        opened(models, study, application, job)

    return work


def opened(models: LoadedModels, study: Study, application: Application, job: Job) -> Opened:
    """For what goes on with it. Raises: UserError, Cancelled."""
    job.progress.step(0, 3, f"loading the encoder {application.encoder}")
    encoder = models.encoder(application)
    kept.weights(study, application).set(encoder.weights)
    job.progress.step(1, 3, "reading the texts")
    task = models.task(application)
    job.progress.step(2, 3, "counting tokens")
    found = Opened(encoder, task, models.cost_model(application))
    job.progress.step(3, 3, "ready")
    return found


def facts_job(models: LoadedModels, study: Study, applications: Sequence[Application]) -> Work:
    """Facts of applications, one after the other; those of embedded ones never change and are kept in the study."""

    def work(job: Job) -> None:
        for number, application in enumerate(applications):
            job.progress.step(number, len(applications), f"reading {application.title}")
            facts = models.facts(application)
            if application.embedded:
                kept.facts(study, application).set(facts)

    return work


def facts_of(models: LoadedModels, study: Study, application: Application) -> Facts | None:
    """What a card says; None where its data has not been read yet."""
    known = models.cached_facts(application)
    return kept.facts(study, application).get() if known is None and application.embedded else known


def add_job(models: LoadedModels, study: Study, encoder: str, task: str) -> Callable[[Job], Application]:
    """Load both, check that they fit together on a few examples, then remember them."""

    def work(job: Job) -> Application:
        candidate = Application(task, encoder, task)
        models.forget(candidate)
        job.progress.step(0, 3, "reading the task")
        loaded_task = models.task(candidate)
        job.progress.step(1, 3, "loading the encoder")
        loaded_encoder = models.encoder(candidate)
        job.progress.step(2, 3, "trying both together")
        _try(loaded_encoder, loaded_task)
        application = add(study, encoder, task, loaded_task.name)
        kept.weights(study, application).set(loaded_encoder.weights)
        models.facts(application)
        return application

    return work


def _try(encoder: Encoder, task: Task) -> None:
    """Raises: UserError where head and task differ, or labels do, or nothing of the encoder could be scored."""
    encoder.require_parts()
    if encoder.head != task.head:
        raise UserError(
            f"{encoder.name} has a head for {encoder.head}, and {task.name} is {task.kind}, which needs one for "
            f"{task.head}: choose a checkpoint that was fine-tuned for it, or fine-tune one with `asc finetune`."
        )
    import torch

    features = task.features(task.examples(task.splits[0], limit=2, seed=0), encoder)
    batch = task.batch(features, range(len(features)), encoder)
    with torch.inference_mode():
        task.predict(encoder.model(**batch.inputs), batch)
