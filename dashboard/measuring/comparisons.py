"""What the Compare page measures: application matrices, and ready-made recipes side by side. Functions of a `Job`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.recipes import transfer_matrix, transfer_matrix_store
from asc_core.recipes.comparison import ComparedPreset, compare_presets
from asc_core.recipes.presets import PresetOptions
from asc_core.study import Study
from asc_core.values import Estimate
from dashboard.background.jobs import Job
from dashboard.measuring.measurements import SPLIT, TRAINING, Measurements
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

LANE = "explore"
Cells = Mapping[tuple[str, str], Estimate]


def matrix_job(
    models: LoadedModels,
    study: Study,
    applications: Sequence[Application],
    general: Application | None,
    settings: transfer_matrix.Settings,
) -> Callable[[Job], dict[str, Any]]:
    """Shows a report that fills up, and keeps it in the study; cells that the study has are not measured again."""

    def work(job: Job) -> dict[str, Any]:
        made = []
        for number, application in enumerate(applications):
            job.progress.step(number, len(applications), f"loading {application.title}")
            encoder, task = models.encoder(application), models.task(application)
            if settings.split not in task.splits:
                raise UserError(f"{application.title} has no {settings.split} split to measure on: leave it out.")
            made.append(transfer_matrix.Application(application.title, encoder, task))
        texts = None if general is None else models.task(general)
        cells: list[transfer_matrix.Cell] = []
        whole = transfer_matrix.TransferMatrix(made, settings, texts)
        whole.progress = counted(job, cells, len(whole.rows) * len(made), "cells")
        for cell in transfer_matrix_store.cells_in_study(whole, study):
            cells.append(cell)
            job.show(transfer_matrix_store.report(whole, cells))
        report = transfer_matrix_store.report(whole, cells)
        transfer_matrix_store.keep_report(study, report)
        return report

    return work


def contest_job(
    measurements: Measurements, options: PresetOptions, names: Sequence[str]
) -> Callable[[Job], list[ComparedPreset]]:
    """Shows entries as they are measured. What is trained can be gone on with after a cancel or a crash."""

    def work(job: Job) -> list[ComparedPreset]:
        encoder, task = (
            measurements.models.encoder(measurements.application),
            measurements.models.task(measurements.application),
        )
        original = measurements.original_outcome(job.progress)
        entries: list[ComparedPreset] = []
        found = compare_presets(
            encoder,
            task,
            original,
            options,
            names,
            study=measurements.study,
            folder=measurements.study.path / TRAINING,
            progress=counted(job, entries, len(names), "recipes"),
        )
        for entry in found:
            entries.append(entry)
            job.show(list(entries))
        return entries

    return work


def counted(job: Job, done: Sequence[Any], total: int, of: str) -> Progress:
    """The progress of one of several pieces of work, as that of all of them."""

    def report(part: int, parts: int, what: str) -> None:
        job.progress.step(len(done), total, f"{what} {part:,} of {parts:,}; {of} measured:")

    return Progress(report, job.progress.cancel)


def cells_of(report: Mapping[str, Any]) -> Cells:
    return {(cell["row"], cell["column"]): Estimate.from_json(cell["estimate"]) for cell in report["cells"]}


def title_of(report: Mapping[str, Any]) -> str:
    """ "nli, qa, intent: 50 % by obs, sequential repair"."""
    asked = report["settings"]
    repair = f", {asked['repair']} repair" if asked["repair"] else ""
    return f"{', '.join(report['columns'])}: {100 * asked['keep']:g} % by {asked['method']}{repair}"


def settings_for(keep: float, method: str, repair: bool) -> transfer_matrix.Settings:
    return transfer_matrix.Settings(keep=keep, method=method, repair="sequential" if repair else None, split=SPLIT)
