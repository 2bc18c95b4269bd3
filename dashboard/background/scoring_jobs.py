"""What runs as jobs: loading, adding, scoring. Functions of a `Job` and values; none touches streamlit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.progress import ABLATING, Progress
from asc_core.scores import sweep
from asc_core.scores.faithfulness import faithfulness_in_study
from asc_core.scores.faithfulness_report import FaithfulnessReport
from asc_core.scores.task_specificity import head_shares
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.values import Scores
from dashboard.background.jobs import URGENT, Job, Jobs, Work
from dashboard.state.applications import Application, Facts, add
from dashboard.state.loaded import Library
from dashboard.tables.trust_report import Effort

PACED_TEXTS = 32


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


def patient(job: Job, jobs: Jobs) -> Progress:
    """The job's progress, waiting while a cut is measured: both at once would be slow, and a latency would be wrong."""

    def report(done: int, total: int, what: str) -> None:
        job.handle.step(done, total, what, progress.phase)
        jobs.give_way(job, URGENT)

    progress = Progress(report, job.handle.cancel)
    return progress


def scoring(
    library: Library,
    study: Study,
    application: Application,
    methods: Sequence[str],
    samples: int,
    jobs: Jobs,
    stop_when_settled: float | None = None,
) -> Callable[[Job], dict[str, Scores]]:
    """Resumes where an earlier run of the same methods and samples was stopped, or stopped by itself."""

    def work(job: Job) -> dict[str, Scores]:
        job.handle.step(0, samples, "loading")
        encoder, task = library.encoder(application), library.task(application)
        study.set(weights_setting(application), encoder.weights)
        if stop_when_settled is not None:
            study.set(watched_setting(application), {"methods": list(methods), "samples": samples})
        return sweep(
            encoder,
            task,
            list(methods),
            split=calibration_split(task),
            samples=samples,
            stop_when_settled=stop_when_settled,
            progress=patient(job, jobs),
            study=study,
        )

    return work


def pacing(library: Library, study: Study, application: Application) -> Callable[[Job], float]:
    """Seconds that a text takes through the encoder on this machine: what longer work is foretold by."""

    def work(job: Job) -> float:
        opened = opening(library, study, application)(job)
        task, encoder = opened.task, opened.encoder
        features = task.features(task.examples(calibration_split(task), PACED_TEXTS, 0), encoder)
        import torch

        batches = batches_by_length(features.lengths, BATCH_TOKENS["cpu"])
        with torch.inference_mode():
            encoder.model(**task.batch(features, batches[-1], encoder).inputs)  # the first is always slower
            began = time.perf_counter()
            for rows in batches:
                encoder.model(**task.batch(features, rows, encoder).inputs)
        seconds = (time.perf_counter() - began) / PACED_TEXTS
        study.set(pace_setting(application), {"seconds": seconds})
        return seconds

    return work


def judging(
    library: Library, study: Study, application: Application, samples: int, held_out: int, effort: Effort, jobs: Jobs
) -> Callable[[Job], FaithfulnessReport]:
    """`faithfulness_in_study`; goes on where an earlier run with the same numbers of examples was stopped.

    effort: what its progress is measured by.
    """

    def work(job: Job) -> FaithfulnessReport:
        progress = patient(job, jobs)
        progress.step(0, round(effort.total), "loading")
        encoder, task = library.encoder(application), library.task(application)
        study.set(weights_setting(application), encoder.weights)
        study.set(judging_setting(application), {"samples": samples, "held_out": held_out})

        def report(done: int, total: int, what: str) -> None:
            phase = measuring.phase
            said = "switching parts off" if phase == ABLATING else phase
            progress.step(round(effort.done(done, total, phase)), round(effort.total), said, phase)

        measuring = Progress(report, job.handle.cancel)

        found = faithfulness_in_study(
            encoder,
            task,
            study,
            samples=samples,
            held_out=held_out,
            split=calibration_split(task),
            curve_split="validation" if "validation" in task.splits else task.splits[0],
            progress=measuring,
        )
        study.set(judging_setting(application), None)
        return found

    return work


def sharing(
    library: Library, study: Study, applications: Sequence[Application], samples: int, jobs: Jobs
) -> Callable[[Job], None]:
    """Each head's share in the gradients of single examples, for the permutation test; kept in the study."""

    def work(job: Job) -> None:
        for application in applications:
            job.handle.step(0, samples, "loading")
            encoder, task = library.encoder(application), library.task(application)
            study.set(weights_setting(application), encoder.weights)
            key = shares_key(application, encoder.weights, samples)
            if study.partial(key) is None:
                split = calibration_split(task)
                shares = head_shares(encoder, task, split=split, samples=samples, progress=patient(job, jobs))
                study.save_partial(key, {"shares": shares}, {"split": split})

    return work


def calibration_split(task: Task) -> str:
    return "train" if "train" in task.splits else task.splits[0]


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


def watched_setting(application: Application) -> str:
    """The methods and samples of the last scoring that was allowed to stop early."""
    return f"watched:{application.name}"


def pace_setting(application: Application) -> str:
    return f"pace:{application.encoder}:{application.name}"


def judging_setting(application: Application) -> str:
    """What is being measured by `judging`, None when it has ended: so that a killed one can go on."""
    return f"judging:{application.name}"


def shares_key(application: Application, weights: str, samples: int) -> str:
    return f"head-shares|{weights}|{application.name}|{samples}"


def kept_settings(study: Study, key: str) -> dict[str, Any]:
    """Empty where there are none, or what is there is something else: a study may come from anyone."""
    kept = study.get(key)
    return kept if isinstance(kept, dict) else {}


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
