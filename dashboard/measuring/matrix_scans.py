"""What int8 does to an application, matrix by matrix: measured by a job, kept in the study. Functions of a `Job`."""

from __future__ import annotations

from collections.abc import Callable

from asc_core.compress.matrix_scan import MatrixScan, MatrixScanner
from asc_core.study import Study
from dashboard.background import application_jobs
from dashboard.background.jobs import Job
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

LANE = "explore"


def scan_job(
    models: LoadedModels, study: Study, application: Application, activations: str
) -> Callable[[Job], MatrixScan]:
    """activations: of `Quantize`."""

    def work(job: Job) -> MatrixScan:
        opened = application_jobs.opened(models, study, application, job)
        scanner = MatrixScanner(opened.encoder, opened.task, activations=activations)
        found = scanner.scan(progress=job.progress)
        kept.matrix_scan(study, opened.encoder.weights, application, activations).set(found)
        return found

    return work


def scan_of(study: Study, application: Application, activations: str) -> MatrixScan | None:
    """Of the weights that the application had when it was last loaded."""
    weights = kept.weights(study, application).get()
    return kept.matrix_scan(study, weights, application, activations).get() if weights is not None else None
