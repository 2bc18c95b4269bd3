"""Ready-made recipes side by side: the same model, the same size, the same training after the cut, the same texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate import PerExampleResult, estimate, measure
from asc_core.plan import Cost
from asc_core.plan.encoder_cost import task_cost
from asc_core.progress import Progress
from asc_core.recipes.presets import PRESETS, PresetOptions, preset_recipe
from asc_core.recipes.recipe import Recipe
from asc_core.study import Study
from asc_core.tasks.base import Task
from asc_core.values import Estimate

COMPARABLE = tuple(name for name, preset in PRESETS.items() if preset.base_checkpoint == "fine-tuned")


@dataclass(frozen=True)
class ComparedPreset:
    """What a recipe made of the model. estimate: paired with it. kept: share of the layers' parameters."""

    name: str
    recipe: Recipe
    cost: Cost
    kept: float
    estimate: Estimate


def compare_presets(
    encoder: Encoder,
    task: Task,
    original: PerExampleResult,
    options: PresetOptions = PresetOptions(),
    names: Sequence[str] = COMPARABLE,
    *,
    study: Study | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Iterator[ComparedPreset]:
    """Apply and measure each, on the original's split; yielded as they are measured.

    original: what the whole model did there. study: where each is kept, under its recipe's key. folder: where training
    keeps its state, see `Recipe.made`; applied again after a kill, it goes on.
    Raises: UserError (a name that is no recipe for a fine-tuned model, or a size out of reach), Cancelled.
    """
    dense = task_cost(encoder, task)
    if study is not None:
        study.set_aside_other_data(task.name, original.split, task.data(original.split))
    for name in names:
        if name not in COMPARABLE:
            raise UserError(f"{name} is no recipe for a fine-tuned model; there are: {', '.join(COMPARABLE)}.")
        recipe = preset_recipe(name, options, task=task.name)
        smaller = recipe.apply(encoder, task, progress, folder)
        reference = None if task.labelled else original
        measured = measure(smaller, task, original.split, reference=reference, progress=progress)
        found = estimate(measured, task.metric, original)
        cost = task_cost(smaller, task)
        if study is not None:
            study.save_evaluation(
                encoder.weights,
                recipe.key,
                task.name,
                original.split,
                found,
                statistics=measured.statistics,
                numbers=measured.numbers,
                cost=asdict(cost),
                recipe=recipe,
                name=label(name, options),
                data=task.data(original.split),
            )
        yield ComparedPreset(name, recipe, cost, cost.encoder_parameters / dense.encoder_parameters, found)


def label(name: str, options: PresetOptions) -> str:
    """What a measurement of a ready-made recipe is called."""
    training = f", {options.steps} steps" if options.steps else ""
    return f"{name} {options.keep:.2f}{training}"
