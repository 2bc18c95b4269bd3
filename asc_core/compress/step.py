"""One step of a recipe: a small value with parameters that turns an encoder into another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from asc_core.progress import Progress

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task


@dataclass(frozen=True)
class Around:
    """What a step may know of the recipe that it is part of.

    teacher: the encoder as it was before the recipe's first cut. folder: where a step that trains keeps its state and
    its result, so that a killed recipe goes on; None = nowhere.
    """

    teacher: Encoder | None = None
    folder: Path | None = None


class Step(BaseModel, ABC):
    """Fields are the step's parameters and its JSON form; they are validated, for a recipe may come from anyone.

    kind: its name in a recipe. needs_task: whether `apply` needs the application's texts. trains: whether it takes so
    long that its result is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]
    needs_task: ClassVar[bool] = False
    trains: ClassVar[bool] = False

    @abstractmethod
    def apply(self, encoder: Encoder, task: Task | None, progress: Progress, around: Around = Around()) -> Encoder:
        """A new encoder; the given one stays as it is. Raises: UserError where the step does not fit the encoder."""

    @abstractmethod
    def describe(self) -> str:
        """A few words for people: "cut to 48 of 72 heads"."""

    def identity(self) -> Any:
        """What decides the outcome, as JSON: two steps with one identity make the same model."""
        return self.model_dump(mode="json")
