"""From an original and a recipe to a checked directory whose card says what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asc_core.ancestry import RECIPE_PLACE, Ancestor, Ancestry
from asc_core.atomic_folder import check_free
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.changes import Changes, changes
from asc_core.evaluate.estimates import estimate
from asc_core.evaluate.per_example import PerExampleResult, measure
from asc_core.export import Card, ExportReport, ancestry_of, check_possible, commands_of, export
from asc_core.export.package import RECIPE_FILE
from asc_core.export.pictures import Front
from asc_core.export.timing import Timing, timing_of
from asc_core.plan.encoder_cost import task_cost, task_lengths
from asc_core.progress import Progress
from asc_core.recipes.original import UNKNOWN, found_again
from asc_core.recipes.recipe import Recipe
from asc_core.tasks.base import Task
from asc_core.tasks.heads import can_answer
from asc_core.tasks.texts import readable
from asc_core.values import Estimate, Plan
from asc_core.vocabulary.dropped_pieces import notes_on_dropped

TEXTS_TO_COMPARE = 64


@dataclass(frozen=True)
class Original:
    """What a model is compared with. encoder: None where it cannot be had, `missing` says why. known: what is known of
    it all the same; None where nothing is, or where there is no other model than the exported one.
    """

    encoder: Encoder | None
    known: Ancestor | None
    missing: str = ""


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
    steps: Sequence[str] = (),
    front: Front | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Measure what a recipe made of the original (the two may be the same) on the task's `split`, and export it.

    original: the model before the recipe's first cut; where its folder says that it was cut before, it is compared with
    what it was cut from. One without the task's head is not measured.
    task: None leaves quality and FLOPs off the card. split: falls back to validation where the task lacks it; this is
    the one place where test is touched. steps: what the recipe did, see `Made.done`; by default what it says. front:
    for the picture of the card, see `Card`.
    Raises: UserError as `evaluate` and `export` do.
    """
    check_free(out, overwrite=overwrite)
    check_possible(smaller, format, packing)
    progress = progress or Progress()
    if recipe is not None:
        recipe = recipe.for_task(task) if task is not None else without_ambiguous_task(recipe)
    true = original_of(smaller, original)
    ancestry = past_of(smaller, original, true, recipe, task, steps, Path(out).name, format, packing)
    card = Card(
        steps=[step for stage in ancestry.stages for step in stage.steps],
        commands=commands_of(ancestry),
        unmeasured=true.missing,
    )
    texts, lengths = None, None
    if task is not None:
        split = split if split in task.splits else "validation" if "validation" in task.splits else task.splits[0]
        card = replace(measured(card, smaller, true, task, split, progress), front=front)
        lengths = task_lengths(smaller, task).tolist()
        examples = task.examples(split, limit=TEXTS_TO_COMPARE, seed=0)
        ids = task.features(examples, smaller).input_ids[:TEXTS_TO_COMPARE]
        texts = [smaller.tokenizer.decode(row, skip_special_tokens=True) for row in ids]

    def timed(folder: Path, form: str) -> Timing | None:
        if true.encoder is None or lengths is None:
            return None
        return timing_of(folder, form, true.encoder, lengths, progress)

    report = export(
        smaller,
        out,
        format,
        plan=recipe.cut if recipe is not None else plan_in(ancestry, smaller),
        recipe=recipe,
        card=card,
        original=true.known,
        ancestry=ancestry,
        texts=texts,
        packing=packing,
        overwrite=overwrite,
        timed=timed,
        progress=progress,
    )
    return replace(report, notes=card.estimate.notes if card.estimate is not None else ())


def original_of(smaller: Encoder, original: Encoder) -> Original:
    """original: as it was loaded, or trained before the first cut."""
    recorded = original.ancestry.original
    if recorded is not None:
        found, missing = found_again(recorded, str(original.device))
        return Original(found, recorded, missing)
    if original.structures:
        return Original(None, None, UNKNOWN)
    return Original(original, original.as_ancestor())


def measured(card: Card, smaller: Encoder, original: Original, task: Task, split: str, progress: Progress) -> Card:
    """The card with what both models are worth, and what they cost on the task's texts."""
    before, missing = None, original.missing
    if original.encoder is not None:
        if smaller is original.encoder or can_answer(original.encoder, task):
            before = measure(original.encoder, task, split, progress=progress)
        else:
            missing = f"The original, `{original.encoder.public_name}`, has no head that answers this task."
    if before is None and not task.labelled:
        raise UserError(
            f"The task {task.name} has no labels, so quality is agreement with the original model, and that cannot be "
            "asked here: export without --task."
        )
    dropped: tuple[str, ...] = ()
    if smaller is original.encoder and before is not None:
        after = before
    else:
        after = measure(smaller, task, split, reference=None if task.labelled else before, progress=progress)
        if original.encoder is not None and before is not None:
            dropped = notes_on_dropped(original.encoder, smaller, task, before, after)
    found = estimate(after, task.metric, before if after is not before or not task.labelled else None)
    whole = task_cost(original.encoder, readable(original.encoder, task)) if original.encoder is not None else None
    flops = original.known.flops.get(texts_of(task)) if original.known is not None else None
    return replace(
        card,
        task=task.name,
        estimate=replace(found, notes=(*found.notes, *dropped)),
        original_estimate=_alone(before, task),
        cost=task_cost(smaller, task),
        original_cost=whole,
        original_flops=flops,
        unmeasured=missing,
        one_split=len(task.splits) == 1,
        changes=_changes(before, after, task) if before is not None and after is not before else None,
    )


def _alone(before: PerExampleResult | None, task: Task) -> Estimate | None:
    return None if before is None else estimate(before, task.metric, None if task.labelled else before)


def _changes(before: PerExampleResult, after: PerExampleResult, task: Task) -> Changes | None:
    examples = task.examples(after.split)
    rows = dict(zip(examples.numbers.tolist(), examples.rows, strict=True))
    return changes(before, after, task.metric, [task.classes_of(rows[number]) for number in after.numbers.tolist()])


def past_of(
    smaller: Encoder,
    original: Encoder,
    true: Original,
    recipe: Recipe | None,
    task: Task | None,
    steps: Sequence[str],
    out: str,
    format: str,
    packing: str | None,
) -> Ancestry:
    """What the folder will remember: what the encoder's own does, and this recipe."""
    if recipe is None:
        return smaller.ancestry
    known = true.known
    if known is not None and task is not None and true.encoder is not None:
        cost = task_cost(true.encoder, readable(true.encoder, task))
        known = replace(known, flops={**known.flops, texts_of(task): cost.flops})
    command = command_for(
        recipe, original.public_name, task, out, format=format, packing=packing, recipe_file=RECIPE_PLACE
    )
    return ancestry_of(
        smaller,
        known if smaller is not original else None,
        recipe,
        steps=steps,
        command=command,
        base=original.public_name,
    )


def texts_of(task: Task) -> str:
    """The fingerprint of the texts that FLOPs are counted on."""
    return task.digest(task.training_split)


def plan_in(ancestry: Ancestry, encoder: Encoder) -> Plan | None:
    """The plan that the last recipe cut by, where that cut made this encoder's shape."""
    recipes = [stage.recipe for stage in ancestry.stages if stage.recipe is not None]
    plan = Recipe.from_json(recipes[-1], "the recipe that the folder remembers").cut if recipes else None
    if plan is None or plan.shape.shares_weights:
        return None
    kept = [(len(plan.heads[row]), len(plan.neurons[row])) for row in (plan.shape.rows[i] for i in plan.layers)]
    same = kept == list(zip(encoder.shape.heads, encoder.shape.neurons, strict=True))
    return plan if same and plan.shape.architecture == encoder.architecture else None


def without_ambiguous_task(recipe: Recipe) -> Recipe:
    """A plan names its task by the name that a study has; only a file's or a scheme's says which one that is."""
    said = recipe.task or ""
    return recipe if ":" in said or said.endswith(".toml") or recipe.needs_task else replace(recipe, task=None)


def command_for(
    recipe: Recipe,
    source: str,
    task: Task | str | None,
    out: str,
    *,
    format: str = "compact",
    packing: str | None = None,
    folder: str = "",
    recipe_file: str | None = None,
) -> str:
    """The line that makes the same directory again, beside the `recipe.json` in it.

    source: of the original. task: what it was applied to. folder: where recipe.json lies, "" = here. recipe_file: what
    stands for it instead.
    """
    if task is None or isinstance(task, str):
        named = f" --task {task or recipe.task}" if task or recipe.task else ""
        named = named or (" --task TASK" if recipe.needs_task else "")
    else:
        named = f" --task {task.source}" + (f" --split {task.splits[0]}" if len(task.splits) == 1 else "")
    stored = (f" --format {format}" if format != "compact" else "") + (f" --packing {packing}" if packing else "")
    place = recipe_file or str(Path(folder) / RECIPE_FILE)
    return f"asc compress {source} --recipe {place}{named}{stored} -o {out}"
