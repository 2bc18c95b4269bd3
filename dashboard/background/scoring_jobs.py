"""Scoring, and what else reads an application's texts once: it waits while a cut is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asc_core.progress import Progress
from asc_core.scores import sweep
from asc_core.scores.first_look import Unsettled
from asc_core.scores.task_specificity import head_shares
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.background.jobs import FOREGROUND, Job, Jobs
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

SECONDS_TO_DRAW = 0.7  # a page with maps, on two cores that do nothing else


def score_job(
    models: LoadedModels,
    study: Study,
    application: Application,
    methods: Sequence[str],
    samples: int,
    jobs: Jobs,
    stop_when_settled: float | None = None,
    then: Callable[[Progress], object] = lambda _: None,
) -> Callable[[Job], dict[str, Scores]]:
    """Resumes where an earlier run of the same methods and samples was stopped, or stopped by itself.

    What it shows on the way is `Unsettled`. then: what else is to be done once the scores are there.
    """

    def work(job: Job) -> dict[str, Scores]:
        job.progress.step(0, samples, "loading")
        encoder, task = models.encoder(application), models.task(application)
        kept.weights(study, application).set(encoder.weights)
        if stop_when_settled is not None:
            kept.scoring_run(study, application).set(kept.ScoringRun(list(methods), samples))
        found = sweep(
            encoder,
            task,
            list(methods),
            split=task.training_split,
            samples=samples,
            stop_when_settled=stop_when_settled,
            progress=yielding(job, jobs),
            study=study,
            show=leaving_time_to_draw(job),
        )
        then(job.progress)  # it does not yield: whoever measures a cut may be waiting for this very work
        return found

    return work


def leaving_time_to_draw(job: Job) -> Callable[[Unsettled], None]:
    """Shows what there is, and after the first time lets the cores go for a moment: someone waits for the first map,
    and a page that is drawn beside the next batches takes several times as long."""

    def show(found: Unsettled) -> None:
        first = job.latest is None
        job.show(found)
        if first:
            job.progress.cancel.wait(SECONDS_TO_DRAW)

    return show


def scores_prefix(study: Study, application: Application) -> str:
    """How the keys of all scoring of an application begin."""
    return f"{study.path.absolute()}|{application.name}|scores|"


def scoring_key(study: Study, application: Application, methods: Sequence[str], samples: int) -> str:
    return f"{scores_prefix(study, application)}{','.join(sorted(methods))}|{samples}"


def head_shares_job(
    models: LoadedModels, study: Study, applications: Sequence[Application], samples: int, jobs: Jobs
) -> Callable[[Job], None]:
    """Each head's share in the gradients of single examples, for the permutation test; kept in the study."""

    def work(job: Job) -> None:
        for application in applications:
            job.progress.step(0, samples, "loading")
            encoder, task = models.encoder(application), models.task(application)
            kept.weights(study, application).set(encoder.weights)
            if kept.head_shares(study, application, encoder.weights, samples) is None:
                split = task.training_split
                shares = head_shares(encoder, task, split=split, samples=samples, progress=yielding(job, jobs))
                kept.keep_head_shares(study, application, encoder.weights, samples, shares, split)

    return work


def yielding(job: Job, jobs: Jobs) -> Progress:
    """The job's progress, waiting while a cut is measured: both at once would be slow, and a latency would be wrong."""

    def report(done: int, total: int, what: str) -> None:
        job.progress.step(done, total, what, progress.phase)
        jobs.yield_to(job, FOREGROUND)

    progress = Progress(report, job.progress.cancel)
    return progress
