"""Lottery tickets as a job: each training's outcome is shown, and kept in the study's folder. Functions of a `Job`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc_core.loading import load_encoder
from asc_core.study import Study
from asc_core.train.options import TrainingOptions
from asc_core.train.ticket_kinds import PartTickets, TicketKind, WeightTickets
from asc_core.train.ticket_report import report
from asc_core.train.tickets import Found, TicketSettings, find_tickets, seeds_from
from dashboard.background import application_jobs
from dashboard.background.jobs import Job
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

LANE = "explore"
FOLDER = "tickets"  # in the study's


@dataclass(frozen=True)
class Asked:
    """encoder: the pre-trained one, as `load_encoder` takes it. parts: tickets of heads and neurons instead of weights.
    rate, rounds, seeds: of the search. limit: training examples, None = all. steps: of each training, at most."""

    encoder: str
    parts: bool = False
    rate: float = 0.3
    rounds: int = 3
    seeds: int = 1
    limit: int | None = 1000
    steps: int | None = 100

    @property
    def settings(self) -> TicketSettings:
        return TicketSettings(
            rate=self.rate,
            rounds=self.rounds,
            seeds=seeds_from(0, self.seeds),
            max_steps=self.steps,
            training=TrainingOptions(limit=self.limit),
        )


def folder_of(study: Study, application: Application, asked: Asked) -> Path:
    """More rounds or seeds go on in the same one."""
    said = [application.name, asked.encoder, asked.parts, asked.rate, asked.limit, asked.steps]
    return study.path / FOLDER / hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def tickets_job(
    models: LoadedModels, study: Study, application: Application, asked: Asked
) -> Callable[[Job], dict[str, Any]]:
    """Shows the report so far; a cancelled search goes on where it was."""

    def work(job: Job) -> dict[str, Any]:
        task = application_jobs.opened(models, study, application, job).task
        job.progress.step(0, 1, f"loading the encoder {asked.encoder}")
        start = load_encoder(asked.encoder)
        kind: TicketKind = PartTickets() if asked.parts else WeightTickets()

        def show(found: Found) -> None:
            job.show(report(found))

        place = folder_of(study, application, asked)
        return report(find_tickets(start, task, place, asked.settings, kind, job.progress, show))

    return work
