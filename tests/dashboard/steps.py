"""Steps that only tests know, registered for as long as a test runs."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import Field

from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.recipes import STEPS


class Halve(Step):
    """Store weights in half the bytes. Nothing else changes."""

    kind: ClassVar[str] = "toy-halve"
    structure: ClassVar[str | None] = "factor"
    share: float = Field(default=1.0, gt=0, le=1, description="Does nothing.")
    rounds: int = Field(default=1, ge=1)

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder.packed("float16")

    def describe(self) -> str:
        return f"halved {self.rounds} times"


class Early(Step):
    """Make sense before the other one alone."""

    kind: ClassVar[str] = "toy-early"
    structure: ClassVar[str | None] = "share"

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder

    def describe(self) -> str:
        return "done early"


class Train(Step):
    """Be begun with a button."""

    kind: ClassVar[str] = "toy-train"
    trains: ClassVar[bool] = True

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder

    def describe(self) -> str:
        return "trained"


@pytest.fixture
def toy_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (Halve, Early, Train):
        monkeypatch.setitem(STEPS, step.kind, step)
