"""One step of a recipe: a small value with parameters that turns an encoder into another one.

A new kind of step is a subclass with a `kind`, its parameters as fields, `apply` and `describe`, and a line in
`recipes.registry`. What it does not say of itself is taken to be the worst: `lineage` that nothing is as it was,
`cache_key` that every field counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from asc_core.compress.calibrations import Calibrations
from asc_core.errors import UserError
from asc_core.progress import Progress

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task


class StepContext:
    """What a step may use beside the encoder in front of it.

    teacher: the encoder as it was before the recipe's first change of its parts, None = the one in front of the step.
    folder: where a step that trains keeps its state and its result, so that a killed recipe goes on; None = nowhere.
    calibrations: what encoders do on calibration texts, shared with whoever else makes models of them. provisional:
    whether somebody waits, so that a step may do something like it that is quicker; `instead` then says what.
    done: what the step did, in words, set by one that may do otherwise than it was asked to (a training that ended
    early).
    """

    def __init__(
        self,
        task: Task | None = None,
        teacher: Encoder | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
        calibrations: Calibrations | None = None,
        provisional: bool = False,
    ):
        self._task, self.teacher, self.folder = task, teacher, folder
        self.progress = progress or Progress()
        self.calibrations = calibrations if calibrations is not None else Calibrations()
        self.provisional, self.instead = provisional, ""
        self.done: str | None = None

    @property
    def task(self) -> Task:
        """Raises: UserError where there is none; a recipe asks for it before any step runs."""
        if self._task is None:
            raise UserError("This step needs the task's texts: name the task.")
        return self._task

    def on(self, task: Task) -> StepContext:
        """The same with another task."""
        other = copy(self)
        other._task = task
        return other


class Step(BaseModel, ABC):
    """Fields are the step's parameters and its JSON form; they are validated, for a recipe may come from anyone.

    kind: its name in a recipe, a word. structure: the kind of structure that it adds to the model, None = only its
    weights change. trains: whether it takes so long that its result is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]
    structure: ClassVar[str | None] = None
    trains: ClassVar[bool] = False

    @abstractmethod
    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        """A new encoder; the given one stays as it is. Raises: UserError where the step does not fit it; Cancelled."""

    @abstractmethod
    def describe(self) -> str:
        """A few words for people: "cut to 48 of 72 heads"."""

    @property
    def adds(self) -> str | None:
        """The kind of structure that this very step adds, where its parameters decide it."""
        return self.structure

    @property
    def has_quick_form(self) -> bool:
        """Whether `apply` can do something like it that is quicker, where the context is provisional."""
        return False

    @property
    def needs_task(self) -> bool:
        """Whether `apply` needs the application's texts."""
        return False

    def cache_key(self) -> Any:
        """What decides the outcome, as JSON: two steps with one key make the same model of the same encoder."""
        return [self.kind, self.model_dump(mode="json")]

    def lineage(self, encoder: Encoder) -> tuple[str, ...] | None:
        """For each layer of the result one key of all that its computation depends on; None = nothing is as it was.

        encoder: as it is before the step. Two results of one encoder whose keys are equal from the first layer up to
        some layer have equal hidden states there, so keep to None where the embeddings change.
        `prefix_cache.unchanged(i)` says that a layer computes what layer i of the encoder did. A wrong key is a wrong
        number that nobody sees.
        """
        return None

    def summary(self) -> dict[str, Any]:
        """What a table of results says about it."""
        return {"step": self.kind}
