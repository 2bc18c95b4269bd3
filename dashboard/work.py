"""What runs as jobs: loading, adding, scoring. Functions of a `Job` and values; none touches streamlit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.scores import sweep
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.values import Scores
from dashboard.applications import Application, Facts, add
from dashboard.jobs import Job, Work
from dashboard.library import Library


@dataclass(frozen=True)
class Opened:
    """An application that is ready to be cut and measured."""

    encoder: Encoder
    task: Task
    cost_model: CostModel


def opening(library: Library, study: Study, application: Application) -> Callable[[Job], Opened]:
    def work(job: Job) -> Opened:
        job.handle.step(0, 3, f"loading the encoder {application.encoder}")
        encoder = library.encoder(application)
        study.set(weights_setting(application), encoder.weights)
        job.handle.step(1, 3, "reading the texts")
        task = library.task(application)
        job.handle.step(2, 3, "counting tokens")
        opened = Opened(encoder, task, library.cost_model(application))
        job.handle.step(3, 3, "ready")
        return opened

    return work


def describing(library: Library, study: Study, applications: Sequence[Application]) -> Work:
    """Facts of applications, one after the other; those of embedded ones never change and are kept in the study."""

    def work(job: Job) -> None:
        for number, application in enumerate(applications):
            job.handle.step(number, len(applications), f"reading {application.title}")
            facts = library.facts(application)
            if application.embedded:
                study.set(facts_setting(application), facts.to_json())

    return work


def known_facts(library: Library, study: Study, application: Application) -> Facts | None:
    known = library.known_facts(application)
    if known is None and application.embedded:
        stored = study.get(facts_setting(application))
        return Facts.from_json(stored) if stored is not None else None
    return known


def scoring(
    library: Library, study: Study, application: Application, methods: Sequence[str], samples: int
) -> Callable[[Job], dict[str, Scores]]:
    """Resumes where an earlier run of the same methods and samples was stopped."""

    def work(job: Job) -> dict[str, Scores]:
        job.handle.step(0, samples, "loading")
        encoder, task = library.encoder(application), library.task(application)
        study.set(weights_setting(application), encoder.weights)
        split = "train" if "train" in task.splits else task.splits[0]
        return sweep(encoder, task, list(methods), split=split, samples=samples, progress=job.handle, study=study)

    return work


def adding(library: Library, study: Study, encoder: str, task: str) -> Callable[[Job], Application]:
    """Load both, check that they fit together on a few examples, then remember them."""

    def work(job: Job) -> Application:
        candidate = Application(task, encoder, task)
        library.forget(candidate)
        job.handle.step(0, 3, "reading the task")
        loaded_task = library.task(candidate)
        job.handle.step(1, 3, "loading the encoder")
        loaded_encoder = library.encoder(candidate)
        job.handle.step(2, 3, "trying both together")
        _try(loaded_encoder, loaded_task)
        application = add(study, encoder, task, loaded_task.name)
        study.set(weights_setting(application), loaded_encoder.weights)
        library.facts(application)
        return application

    return work


def weights_setting(application: Application) -> str:
    return f"weights:{application.encoder}"


def facts_setting(application: Application) -> str:
    return f"facts-2:{application.task}"  # the number goes up when `Facts` changes


def _try(encoder: Encoder, task: Task) -> None:
    """Raises: UserError where head and task differ, or labels do."""
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


def newest_scores(index: Sequence[dict[str, Any]], weights: str | None) -> dict[tuple[str, str], dict[str, Any]]:
    """From a study's index, newest first: (task, method) -> its newest entry, of these weights where they are known."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in index:
        if weights in (None, entry["weights"]):
            newest.setdefault((entry["task"], entry["method"]), entry)
    return newest
