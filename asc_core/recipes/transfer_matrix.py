"""The application matrix: compressed for application i, evaluated on application j; and what it costs not to know j.

ASC's claim (Application Specific Compression, arXiv 2409.05368) is that a cut made for an application beats a cut that
knows nothing of it. Row i holds the cut that i's texts ask for, column j what becomes of application j under it. Below
stand cuts that know no application in particular: from all of them mixed, from general text, by magnitude, at random.

Heads of different tasks differ, so there are two readings. By default each fine-tuned model j is cut with i's plan and
repaired on i's texts. With `base` the same pre-trained encoder is cut with i's plan and then trained for j (`then`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from asc_core.compress.calibrations import Calibrations
from asc_core.compress.choose import Share, counted
from asc_core.compress.cut import Cut, repair_key
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate import PerExampleResult, estimate, measure
from asc_core.plan import by_budget
from asc_core.plan.combined_scores import Reduction, combined_scores
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress
from asc_core.scores.sweep import sweep
from asc_core.tasks.base import Task
from asc_core.tasks.texts import Texts
from asc_core.values import Estimate, Plan, Scores

ORIGINAL = "original"
MIXED, GENERAL, MAGNITUDE, RANDOM = "all mixed", "general text", "magnitude", "random"


@dataclass(frozen=True)
class Application:
    """A fine-tuned model and its task, under a name."""

    name: str
    encoder: Encoder
    task: Task


@dataclass(frozen=True)
class Settings:
    """keep, budget: how much of each model stays. method: scores, which must not need labels where general text is
    given. repair: of what stays, None = nothing. samples, seed: draw the training texts. split: to measure on."""

    keep: float = 0.5
    budget: Share = "layer-parameters"
    method: str = "obs"
    repair: str | None = "sequential"
    samples: int = 1024
    seed: int = 0
    split: str = "validation"


@dataclass(frozen=True)
class Cell:
    """row, column: names. measured: what the model did on each of the column's examples. key: what decides it."""

    row: str
    column: str
    measured: PerExampleResult
    estimate: Estimate
    key: str


@dataclass
class TransferMatrix:
    """What all cells share. general: texts of no application, None = that row is left out.

    base, then: see above; the last steps are given the fine-tuned model of the column as their teacher. known: outcomes
    of earlier cells (and originals) by key, which are not computed again.
    Raises: UserError where the models differ in shape, or names occur twice (of tasks: for different texts).
    """

    applications: Sequence[Application]
    settings: Settings = Settings()
    general: Task | None = None
    base: Encoder | None = None
    then: Sequence[Step] = ()
    known: Mapping[str, PerExampleResult] = field(default_factory=dict)
    progress: Progress | None = None

    def __post_init__(self) -> None:
        names = [application.name for application in self.applications]
        if len(names) < 2 or len(set(names)) < len(names):
            raise UserError(f"A matrix needs two applications or more, each under its own name; there are: {names}.")
        for name in names:
            if name in (ORIGINAL, MIXED, GENERAL, MAGNITUDE, RANDOM):
                raise UserError(
                    f"An application cannot be called {name}: the matrix has a row of that name. Rename it."
                )
        data: dict[str, str] = {}
        general = [] if self.general is None else [self.general]
        for task in [*(application.task for application in self.applications), *general]:
            mine = task.data(self.settings.split)
            if data.setdefault(task.name, mine) != mine:
                raise UserError(
                    f"Two tasks with different texts are called {task.name}, and results are kept by this name: give "
                    'one of the task files another name, or a line name = "..." in it.'
                )
        shape = self.applications[0].encoder.shape
        for application in self.applications:
            if application.encoder.shape != shape:
                raise UserError(
                    f"{application.name} runs on {application.encoder.shape}, {names[0]} on {shape}: a plan for one "
                    "cannot cut the other. Take models of one pre-trained encoder."
                )
        if self.base is not None and self.base.shape != shape:
            raise UserError(f"The pre-trained encoder is {self.base.shape}, the applications' models are {shape}.")

    @property
    def rows(self) -> list[str]:
        """Applications, then the cuts that know none in particular."""
        return [application.name for application in self.applications] + self.agnostic

    @property
    def agnostic(self) -> list[str]:
        return [MIXED, *([GENERAL] if self.general is not None else []), MAGNITUDE, RANDOM]

    def original(self, column: Application) -> PerExampleResult:
        """The column's whole model; computed once."""
        key = self.key(ORIGINAL, column)
        if key not in self._originals:
            self._originals[key] = self.known.get(key) or self.measured(column.encoder, column)
        return self._originals[key]

    def cells(self) -> Iterator[Cell]:
        """Column by column, each as it is measured."""
        for column in self.applications:
            for row in self.rows:
                key = self.key(row, column)
                found = self.known.get(key)
                if found is None:
                    found = self.measured(self.compressed(row, column), column)
                compared = estimate(found, column.task.metric, self.original(column))
                yield Cell(row, column.name, found, compared, key)

    def compressed(self, row: str, column: Application) -> Encoder:
        """The column's model under a row's cut."""
        return self.cut_by(self.plan(row, column), self._texts(row), column)

    def cut_by(self, plan: Plan, texts: Task, column: Application) -> Encoder:
        """The column's model under a plan, repaired on these texts, and trained where that was asked for."""
        start, settings = self.base or column.encoder, self.settings
        cut = Cut(plan=plan, repair=settings.repair, transfer=True, samples=settings.samples, seed=settings.seed)
        context = StepContext(texts, column.encoder, None, self._progress, self._calibrations)
        smaller = cut.apply(start, context)
        for later in self.then:
            smaller = later.apply(smaller, context.on(column.task))
        return smaller

    @cached_property
    def _calibrations(self) -> Calibrations:
        """Of the last model and texts that were asked for: several rows of a column look at the same ones."""
        return Calibrations(most=1)

    def plan(self, row: str, column: Application) -> Plan:
        """A row's plan is the same in all columns, except that general text, magnitude and random look at the column's
        own weights (and know nothing else of it)."""
        own = {application.name: application for application in self.applications}
        if row in own:
            return self._plan_of(row)
        if row == MIXED:
            return self._mixed_plan
        source = self.base or column.encoder
        if row == GENERAL:
            scores = self._score(source, self._texts(row), self.settings.method)
        else:
            scores = self._score(source, self._texts(row), row)
        return self._cut(scores, source, self._texts(row))

    def _plan_of(self, name: str) -> Plan:
        if name not in self._plans:
            application = next(a for a in self.applications if a.name == name)
            self._plans[name] = self._cut(self._scores_of(application), application.encoder, application.task)
        return self._plans[name]

    @cached_property
    def _mixed_plan(self) -> Plan:
        return self.shared_plan("sum")

    def shared_plan(self, reduce: Reduction, weights: Sequence[float] | None = None) -> Plan:
        """One plan for all applications, see `combined_scores`."""
        scores = combined_scores([self._scores_of(application) for application in self.applications], reduce, weights)
        return self._cut(scores, self.applications[0].encoder, self._texts(MIXED))

    @cached_property
    def all_texts(self) -> Task:
        return self._texts(MIXED)

    @cached_property
    def _plans(self) -> dict[str, Plan]:
        return {}

    @cached_property
    def _originals(self) -> dict[str, PerExampleResult]:
        return {}

    @cached_property
    def _scored(self) -> dict[str, Scores]:
        return {}

    def _scores_of(self, application: Application) -> Scores:
        if application.name not in self._scored:
            found = self._score(application.encoder, application.task, self.settings.method)
            self._scored[application.name] = found
        return self._scored[application.name]

    def _score(self, encoder: Encoder, task: Task, method: str) -> Scores:
        samples, seed = self.settings.samples, self.settings.seed
        return sweep(encoder, task, [method], samples=samples, seed=seed, progress=self._progress)[method]

    def _cut(self, scores: Scores, encoder: Encoder, task: Task) -> Plan:
        costs = task_cost_model(encoder, task)
        budget, keep = counted(self.settings.budget, self.settings.keep, costs)
        return by_budget(scores, costs, keep, budget)

    def _texts(self, row: str) -> Task:
        """What a row may look at."""
        for application in self.applications:
            if application.name == row:
                return Texts(application.task)
        if row != MIXED and self.general is not None:
            return Texts(self.general)
        return Texts(*(application.task for application in self.applications))

    @property
    def _progress(self) -> Progress:
        return self.progress or Progress()

    def measured(self, encoder: Encoder, column: Application) -> PerExampleResult:
        """What a model, the column's own or one made of it, does on the column's examples."""
        reference = None
        if not column.task.labelled and encoder is not column.encoder:
            reference = self.original(column)
        return measure(encoder, column.task, self.settings.split, reference=reference, progress=self._progress)

    def key(self, row: str, column: Application) -> str:
        """What decides a cell, or the column's `ORIGINAL`, as a short name."""
        settings = self.settings
        facts: list[Any] = [column.encoder.weights, column.task.name, settings.split]
        if row != ORIGINAL:
            looked_at = [row, *(a.encoder.weights for a in self.applications if a.name == row or row == MIXED)]
            texts = self._texts(row).digest("train", settings.samples, settings.seed)
            drawn = [settings.samples, settings.seed]
            asked = [settings.keep, settings.budget, settings.method, repair_key(settings.repair), *drawn]
            later = [self.base.weights if self.base else None, [step.cache_key() for step in self.then]]
            if self.then:
                later.append(column.task.data("validation"))
            facts += [looked_at, texts, asked, later]
        return "matrix:" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
