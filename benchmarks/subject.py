"""What a benchmark measures: an application of the demo or a checkpoint beside the repository, with its task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import asc_core
from asc_core.compress import Calibrations
from asc_core.encoder import Encoder
from asc_core.tasks import Task
from benchmarks.trust import sources


@dataclass
class Subject:
    """name: of `benchmarks.trust.available`. root: where the benchmark keeps what it makes, task files too."""

    name: str
    root: Path

    @cached_property
    def encoder(self) -> Encoder:
        return asc_core.load_encoder(sources(self.name, self.root)[0], device="cpu")

    @cached_property
    def task(self) -> Task:
        return asc_core.load_task(sources(self.name, self.root)[1])

    @cached_property
    def calibrations(self) -> Calibrations:
        return Calibrations()
