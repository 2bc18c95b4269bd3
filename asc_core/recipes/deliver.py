"""From an original and a recipe to a checked directory whose card says what was measured."""

from __future__ import annotations

from pathlib import Path

from asc_core.atomic_folder import check_free
from asc_core.compress.prune import Prune
from asc_core.compress.repaired import Repaired
from asc_core.compress.repairs import cut_and_repair
from asc_core.encoder import Encoder
from asc_core.evaluate import evaluate
from asc_core.export import Card, ExportReport, check_possible, export
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress
from asc_core.recipes.recipe import Recipe
from asc_core.tasks.base import Task
from asc_core.tasks.heads import head_fits
from asc_core.tasks.texts import readable

TEXTS_TO_COMPARE = 64


def deliver(
    smaller: Encoder,
    original: Encoder,
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    task: Task | None = None,
    split: str = "test",
    format: str = "compact",
    packing: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Measure what a recipe made of the original (the two may be the same) on the task's `split`, and export it.

    original: the model before the recipe's first cut; a pre-trained one without the task's head is not measured.
    task: None leaves quality and FLOPs off the card. split: falls back to validation where the task lacks it; this is
    the one place where test is touched. Raises: UserError as `evaluate` and `export` do.
    """
    check_free(out, overwrite=overwrite)
    check_possible(smaller, format, packing)
    progress = progress or Progress()
    steps = [step.describe() for step in recipe.steps] if recipe is not None else []
    source = original.source if original.source.startswith("demo:") else original.name
    command = None
    if recipe is not None:
        options = _options(recipe, task) + _way_out(format, packing)
        command = f"asc compress {source} {options} -o {Path(out).name}"
    if task is None:
        card, texts = Card(steps=steps, command=command), None
    else:
        split = split if split in task.splits else "validation" if "validation" in task.splits else task.splits[0]
        before = None
        if smaller is original or head_fits(original, task):
            before = evaluate(original, task, split, against=None if task.labelled else original, progress=progress)
        against = original if before is not None else None
        after = before if smaller is original else evaluate(smaller, task, split, against=against, progress=progress)
        card = Card(
            task=task.name,
            estimate=after,
            original_estimate=before,
            cost=task_cost_model(smaller, task).dense,
            original_cost=task_cost_model(original, readable(original, task)).dense,
            steps=steps,
            command=command,
        )
        examples = task.examples(split, limit=TEXTS_TO_COMPARE, seed=0)
        ids = task.features(examples, smaller).input_ids[:TEXTS_TO_COMPARE]
        texts = [smaller.tokenizer.decode(row, skip_special_tokens=True) for row in ids]
    return export(
        smaller,
        out,
        format,
        plan=recipe.plan if recipe is not None else None,
        recipe=recipe,
        card=card,
        original=original,
        texts=texts,
        packing=packing,
        overwrite=overwrite,
        progress=progress,
    )


def _way_out(format: str, packing: str | None) -> str:
    """The options for what is not the default."""
    return (f" --format {format}" if format != "compact" else "") + (f" --packing {packing}" if packing else "")


def _options(recipe: Recipe, applied_to: Task | None) -> str:
    """Those of `asc compress` that make the same again, with the plan alone where they can say what was done to it."""
    task = f" --task {recipe.task or 'TASK' if applied_to is None else applied_to.source}"
    if applied_to is not None and len(applied_to.splits) == 1:
        task += f" --split {applied_to.splits[0]}"
    plan, step = recipe.plan, recipe.steps[0] if recipe.steps else None
    if plan is None or not isinstance(step, Prune):
        return f"--recipe recipe.json{task}"
    seed = step.seed if isinstance(step, Repaired) else 0
    if step.identity() != cut_and_repair(plan, step.repair, seed=seed).identity():  # type: ignore[arg-type]
        return f"--recipe recipe.json{task}"
    repaired = f"{task} --repair {step.repair}" if step.repair else ""
    return "--plan plan.json" + repaired + (f" --seed {seed}" if seed else "") + " --transfer" * step.transfer
