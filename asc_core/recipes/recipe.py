"""Recipe: the steps that make a compressed model of its original."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from asc_core.compress.calibration import SAMPLES, TOKENS
from asc_core.compress.calibrations import Calibrations
from asc_core.compress.cut import Cut
from asc_core.compress.repairs import check_repair
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.prefix_cache import prefix_keys
from asc_core.json_files import read_json, write_json
from asc_core.progress import Progress
from asc_core.recipes.order import check_fits, check_order
from asc_core.recipes.registry import parse_step, step_json
from asc_core.tasks.base import Task
from asc_core.train.run import STATE_FORMAT
from asc_core.values import Plan

RECIPE_FORMAT = "asc-recipe/1"


@dataclass(frozen=True)
class Made:
    """What a recipe made of an original. before_cut: the encoder as it was before the first change of its parts.

    lineages: what each step said of the layers that it left, see `Step.lineage`. done: what each step did, in words.
    provisional: in words, what was done instead of what the steps say since somebody waits; "" = nothing.
    """

    original: Encoder
    before_cut: Encoder
    encoder: Encoder
    lineages: tuple[tuple[str, ...] | None, ...]
    done: tuple[str, ...] = ()
    provisional: str = ""

    def prefix_keys(self, task: Task | None) -> tuple[str, ...] | None:
        """One key for each layer of what evaluations have in common, see `prefix_cache`; None = nothing can be reused.

        task: whose texts the steps were given.
        """
        shape = self.original.shape
        if shape.shares_weights or self.provisional or None in self.lineages:
            return None
        texts = task.data("train") if task is not None else None
        return prefix_keys(json.dumps([self.original.weights, texts]), shape.layers, self.lineages)


@dataclass(frozen=True)
class Recipe:
    """steps: applied in order. original: what they start from, as `load_encoder` takes it. task: as `load_task` does.
    task_file: what that task was when the recipe was applied, see `for_task`; elsewhere a name may mean another one.

    What is evaluated, stored, compared and exported is a recipe; a plan alone is the recipe with one step.
    Raises: UserError where the order of the steps makes no sense.
    """

    steps: tuple[Step, ...]
    original: str | None = None
    task: str | None = None
    task_file: Mapping[str, Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_order(self.steps)

    @staticmethod
    def of(plan: Plan, transfer: bool = False) -> Recipe:
        return Recipe((Cut(plan=plan, transfer=transfer),), plan.provenance.model, plan.provenance.task)

    @staticmethod
    def repaired(
        plan: Plan,
        repair: str | None = "sequential",
        transfer: bool = False,
        samples: int = SAMPLES,
        tokens: int = TOKENS,
        seed: int = 0,
        until_settled: bool = False,
    ) -> Recipe:
        """The cut, and the repair of what stays; see `Cut`. Raises: UserError for an unknown repair."""
        step = Cut(
            plan=plan,
            repair=check_repair(repair),
            transfer=transfer,
            samples=samples,
            tokens=tokens,
            seed=seed,
            until_settled=until_settled,
        )
        return Recipe((step,), plan.provenance.model, plan.provenance.task)

    def transferred(self) -> Recipe:
        """The same, its plans allowed on other weights of the same shape than those that they were made for."""
        steps = (s.model_copy(update={"transfer": True}) if isinstance(s, Cut) else s for s in self.steps)
        return replace(self, steps=tuple(steps))

    def for_task(self, task: Task, source: str | None = None) -> Recipe:
        """The same, with what the task is: the content of its file, and the fingerprints of its texts.

        source: as `load_task` takes it from here, by default the task's own, which names a file without its folder.
        """
        known = {"name": task.name, "kind": task.kind, "content": task.definition, "texts": texts_in(task)}
        return replace(self, task=source or task.source, task_file=known)

    def check_task(self, task: Task) -> None:
        """Raises: UserError where the recipe says what the task of its name was, and this is another one."""
        known = (self.task_file or {}).get("content")
        if known is None or plain_json(task.definition) == plain_json(known):
            return
        raise UserError(
            f"The recipe was made for a task file whose content is not that of {self.task!r} here: say with --task "
            "which task is meant (what it was made for stands in the recipe under task_file)."
        )

    @cached_property
    def key(self) -> str:
        """A short stable name for the steps, under which results are stored. A single plan's recipe has its key."""
        only = self.steps[0] if len(self.steps) == 1 else None
        if isinstance(only, Cut) and only.repair is None:
            return only.plan.key
        steps = [step.cache_key() for step in self.steps]
        return hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def cut(self) -> Plan | None:
        """The plan of the cut among the steps, if one of them cuts and it says which parts."""
        cutting = [step for step in self.steps if step.structure == Cut.structure]
        return cutting[0].plan if len(cutting) == 1 and isinstance(cutting[0], Cut) else None

    @property
    def summary(self) -> list[dict[str, Any]]:
        """What a table of results says about each step."""
        return [step.summary() for step in self.steps]

    @property
    def needs_task(self) -> bool:
        return any(step.needs_task for step in self.steps)

    @property
    def has_quick_form(self) -> bool:
        """Whether there is something like it to look at while the model is made, see `made(provisional=True)`."""
        return any(step.has_quick_form for step in self.steps) and not any(step.trains for step in self.steps)

    def apply(
        self,
        encoder: Encoder,
        task: Task | None = None,
        progress: Progress | None = None,
        folder: str | Path | None = None,
        calibrations: Calibrations | None = None,
    ) -> Encoder:
        """What the steps make of an encoder. Arguments and errors as for `made`."""
        return self.made(encoder, task, progress, folder, calibrations).encoder

    def made(
        self,
        encoder: Encoder,
        task: Task | None = None,
        progress: Progress | None = None,
        folder: str | Path | None = None,
        calibrations: Calibrations | None = None,
        provisional: bool = False,
    ) -> Made:
        """What the steps make of an encoder, and what came before.

        calibrations: shared with whoever else repairs cuts of this encoder. provisional: whether quicker repairs do for
        now. folder: where steps that train keep their
        state; a killed recipe, applied again, goes on from there and ends in the same model. Without it only the result
        is left.

        Raises: UserError where a step does not fit, or needs a task and none is given; Cancelled.
        """
        check_fits(self.steps, encoder)
        progress = progress or Progress()
        teacher = original = encoder
        calibrations = calibrations if calibrations is not None else Calibrations()
        lineages: list[tuple[str, ...] | None] = []
        done: list[str] = []
        instead: list[str] = []
        came_from: list[Any] = [encoder.weights, task.name if task else None]
        if folder is not None and task is not None:
            came_from += [STATE_FORMAT, task.data("validation")]
        for number, step in enumerate(self.steps):
            if step.needs_task and task is None:
                raise UserError(f"Step {number + 1} of the recipe ({step.kind}) needs the task's texts: name the task.")
            progress.step(number, len(self.steps), step.describe())
            came_from = [came_from, *step.cache_key()]
            state = None
            if folder is not None and step.trains:
                name = hashlib.sha256(json.dumps(came_from, sort_keys=True).encode()).hexdigest()[:12]
                state = Path(folder) / f"{number + 1}-{step.kind}-{name}"
            context = StepContext(task, teacher, state, progress, calibrations, provisional)
            lineages.append(step.lineage(encoder))
            before, encoder = encoder, step.apply(encoder, context)
            done.append(context.done or step.describe())
            instead += [context.instead] * bool(context.instead)
            if before is teacher and step.trains and step.structure is None:
                teacher = encoder  # trained further, but not cut yet
        return Made(original, teacher, encoder, tuple(lineages), tuple(done), ", ".join(instead))

    def to_json(self) -> dict[str, Any]:
        return {
            "format": RECIPE_FORMAT,
            "original": self.original,
            "task": self.task,
            **({"task_file": plain_json(self.task_file)} if self.task_file is not None else {}),
            "steps": [step_json(step) for step in self.steps],
        }

    @staticmethod
    def from_json(data: Any, origin: str = "recipe") -> Recipe:
        """Raises: UserError naming `origin` and the step and field that are wrong."""
        if not isinstance(data, dict) or data.get("format") != RECIPE_FORMAT or not isinstance(data.get("steps"), list):
            raise UserError(f'{origin} is not a recipe: it needs "format": "{RECIPE_FORMAT}" and a list "steps".')
        for name in ("original", "task"):
            if not isinstance(data.get(name), str | None):
                raise UserError(f'{origin}: "{name}" must be text.')
        about = data.get("task_file")
        if not isinstance(about, dict | None):
            raise UserError(f'{origin}: "task_file" must be an object.')
        steps = [parse_step(step, f"{origin}, step {number + 1}") for number, step in enumerate(data["steps"])]
        return Recipe(tuple(steps), data.get("original"), data.get("task"), about)

    def save(self, path: str | Path) -> None:
        """Raises: UserError where it cannot be written."""
        write_json(path, self.to_json())

    @staticmethod
    def load(path: str | Path) -> Recipe:
        return Recipe.from_json(read_json(path), origin=str(path))


def texts_in(task: Task) -> dict[str, str]:
    """Split -> fingerprint, of those that a model is made by."""
    return {split: task.digest(split) for split in task.splits if split in ("train", "validation", task.splits[0])}


def plain_json(data: Any) -> Any:
    """As it comes back from a file: a task file may hold what JSON has no form for (dates)."""
    return json.loads(json.dumps(data, default=str))


def compress(
    encoder: Encoder,
    what: Plan | Recipe,
    task: Task | None = None,
    *,
    transfer: bool = False,
    progress: Progress | None = None,
) -> Encoder:
    """A smaller encoder by a plan or a recipe; the given one stays as it is.

    transfer: whether a plan may come from scores of other weights of the same shape (a recipe says so itself).
    Raises: UserError where a plan is for another shape or other weights, or a step needs the task and has none.
    """
    recipe = what if isinstance(what, Recipe) else Recipe.of(what, transfer)
    return recipe.apply(encoder, task, progress)
