"""What all cuts have in common that are repaired on calibration texts, as steps of a recipe."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import Field

from asc_core.compress.calibration import SAMPLES, TOKENS, Calibration, calibrate
from asc_core.compress.prune import Prune
from asc_core.compress.step import Around
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.tasks.base import Task


class Repaired(Prune):
    """Cut a plan, then repair what stays. samples, tokens, seed: of the texts, see `calibrate`."""

    needs_task: ClassVar[bool] = True
    samples: int = Field(default=SAMPLES, ge=8)
    tokens: int = Field(default=TOKENS, ge=64)
    seed: int = Field(default=0, ge=0)

    @property
    @abstractmethod
    def repair(self) -> str: ...

    @abstractmethod
    def repaired(self, encoder: Encoder, calibration: Calibration, progress: Progress | None) -> Encoder:
        """The encoder after the plan and the repair. Raises: UserError, Cancelled."""

    def apply(
        self,
        encoder: Encoder,
        task: Task | None = None,
        progress: Progress | None = None,
        around: Around = Around(),
    ) -> Encoder:
        assert task is not None, "a recipe asks for the task"
        drawn: dict[str, Any] = {"samples": self.samples, "tokens": self.tokens, "seed": self.seed}
        moments = self.repair == "one-shot"
        calibration = calibrate(encoder, task, moments=moments, progress=progress, **drawn)
        return self.repaired(encoder, calibration, progress)

    def identity(self) -> Any:
        return [self.value().key, self.repair, self.samples, self.tokens, self.seed]
