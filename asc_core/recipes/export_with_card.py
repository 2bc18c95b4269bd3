"""From an original and a recipe to a checked directory whose card says what was measured."""

from __future__ import annotations

from pathlib import Path

from asc_core.atomic_folder import check_free
from asc_core.encoder import Encoder
from asc_core.evaluate import evaluate
from asc_core.export import Card, ExportReport, check_possible, export
from asc_core.export.package import RECIPE_FILE
from asc_core.plan.encoder_cost import task_cost
from asc_core.progress import Progress
from asc_core.recipes.recipe import Recipe
from asc_core.tasks.base import Task
from asc_core.tasks.heads import head_fits
from asc_core.tasks.texts import readable

TEXTS_TO_COMPARE = 64


def export_with_card(
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
        command = command_for(recipe, source, task, Path(out).name, format=format, packing=packing)
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
            cost=task_cost(smaller, task),
            original_cost=task_cost(original, readable(original, task)),
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
        plan=recipe.cut if recipe is not None else None,
        recipe=recipe,
        card=card,
        original=original,
        texts=texts,
        packing=packing,
        overwrite=overwrite,
        progress=progress,
    )


def command_for(
    recipe: Recipe,
    source: str,
    task: Task | str | None,
    out: str,
    *,
    format: str = "compact",
    packing: str | None = None,
    folder: str = "",
) -> str:
    """The line that makes the same directory again, beside the `recipe.json` in it.

    source: of the original. task: what it was applied to. folder: where recipe.json lies, "" = here.
    """
    if task is None or isinstance(task, str):
        named = f" --task {task or recipe.task}" if task or recipe.task else ""
        named = named or (" --task TASK" if recipe.needs_task else "")
    else:
        named = f" --task {task.source}" + (f" --split {task.splits[0]}" if len(task.splits) == 1 else "")
    stored = (f" --format {format}" if format != "compact" else "") + (f" --packing {packing}" if packing else "")
    recipe_file = str(Path(folder) / RECIPE_FILE)
    return f"asc compress {source} --recipe {recipe_file}{named}{stored} -o {out}"
