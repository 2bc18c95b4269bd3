"""How far each method can be trusted: measuring it, and how long that will take on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.progress import ABLATING, Progress
from asc_core.scores.faithfulness import faithfulness_in_study
from asc_core.scores.faithfulness_report import FaithfulnessReport
from asc_core.study import Study
from dashboard.background import application_jobs
from dashboard.background.jobs import Job, Jobs
from dashboard.background.scoring_jobs import yielding
from dashboard.background.work_estimate import WorkEstimate
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

PACED_TEXTS = 32


def trust_job(
    models: LoadedModels,
    study: Study,
    application: Application,
    samples: int,
    held_out: int,
    work_estimate: WorkEstimate,
    jobs: Jobs,
) -> Callable[[Job], FaithfulnessReport]:
    """`faithfulness_in_study`; goes on where an earlier run with the same numbers of examples was stopped.

    work_estimate: what its progress is measured by.
    """

    def work(job: Job) -> FaithfulnessReport:
        progress = yielding(job, jobs)
        progress.step(0, round(work_estimate.total), "loading")
        encoder, task = models.encoder(application), models.task(application)
        kept.weights(study, application).set(encoder.weights)
        kept.trust_run(study, application).set(kept.TrustRun(samples, held_out))

        def report(done: int, total: int, what: str) -> None:
            phase = measuring.phase
            said = "switching parts off" if phase == ABLATING else phase
            progress.step(round(work_estimate.done(done, total, phase)), round(work_estimate.total), said, phase)

        measuring = Progress(report, job.progress.cancel)
        found = faithfulness_in_study(
            encoder,
            task,
            study,
            samples=samples,
            held_out=held_out,
            split=task.training_split,
            curve_split="validation" if "validation" in task.splits else task.splits[0],
            progress=measuring,
        )
        kept.trust_run(study, application).set(None)
        return found

    return work


def pace_job(models: LoadedModels, study: Study, application: Application) -> Callable[[Job], float]:
    """Seconds that a text takes through the encoder on this machine: what longer work is predicted by."""

    def work(job: Job) -> float:
        opened = application_jobs.opened(models, study, application, job)
        task, encoder = opened.task, opened.encoder
        features = task.features(task.examples(task.training_split, PACED_TEXTS, 0), encoder)
        import torch

        batches = batches_by_length(features.lengths, BATCH_TOKENS["cpu"])
        with torch.inference_mode():
            encoder.model(**task.batch(features, batches[-1], encoder).inputs)  # the first is always slower
            began = time.perf_counter()
            for rows in batches:
                encoder.model(**task.batch(features, rows, encoder).inputs)
        seconds = (time.perf_counter() - began) / PACED_TEXTS
        kept.pace(study, application).set(kept.Pace(seconds))
        return seconds

    return work
