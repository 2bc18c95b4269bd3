"""What a model is worth, and how it leaves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    DtypeOption,
    EncoderArgument,
    FormatOption,
    Int8Option,
    JsonOption,
    KeepOption,
    OnlySplitOption,
    OutOption,
    OverwriteOption,
    PackingOption,
    SeedOption,
    TaskOption,
    TransferOption,
    load,
    percent,
    progress_line,
    say,
    verb,
)
from asc_core.errors import UserError


def with_int8(recipe: Any, original: Any, task: Any, format: str, int8: bool, keep: list[str] | None) -> Any:
    """The recipe with a last step, see `Int8Option`. Raises: UserError for --keep without --int8, a second int8, or a
    format that holds no integers."""
    from asc_core import Recipe
    from asc_core.recipes.int8 import int8_step

    if not int8:
        raise UserError("--keep says which matrices --int8 leaves in float32: say --int8, too.")
    step = int8_step(format, choose=task is not None, keep=tuple(keep or ()))
    if recipe is None:
        return Recipe((step,), original.public_name, task.source if task is not None else None)
    return replace(recipe, steps=(*recipe.steps, step))


def steps_folder(out: Path) -> Path:
    """Where a recipe's steps that train keep their state until the result is written."""
    return out.parent / f".{out.name}.steps"


def task_for(named: str | None, recipe: Any, seed: int, split: str | None) -> Any:
    """The task of a name, else the one that a recipe was made for. Raises: UserError where that is another one here."""
    from asc_core import load_task

    if named:
        return load_task(named, split_seed=seed, split=split)
    if recipe is None or not recipe.task:
        return None
    try:
        found = load_task(recipe.task, split_seed=seed, split=split)
    except UserError as error:
        raise UserError(f"The recipe is for the task {recipe.task}; name it with --task. {error}") from None
    recipe.check_task(found)
    typer.echo(f"task: {recipe.task}, as the recipe names it", err=True)
    return found


def checked(report: Any) -> str:
    return (
        f"reloaded in a {report.checked_in} and compared on {report.checked_texts} texts: "
        f"outputs differ by at most {report.max_difference:.1e}"
        + (f", {percent(report.equal)} of the answers are equal" if report.equal is not None else "")
        + (f"\n{report.speed}" if report.speed else "")
    )


@verb
def evaluate(
    encoder: EncoderArgument,
    task: TaskOption,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="Apply this recipe first; measured in pairs.")] = None,
    against: Annotated[str | None, typer.Option(help="The original: the difference to it is reported.")] = None,
    split: Annotated[str | None, typer.Option(help="By default validation; test is for the final figure.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many examples, drawn by seed.")] = None,
    half_width: Annotated[
        float | None, typer.Option(min=0, help="Stop once the interval's half-width is at most so many points.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """A model's metric on a task with its interval, and the paired difference to the original.

    Example: asc evaluate smaller --task demo:nli --against demo:nli --half-width 3
    """
    import asc_core
    from asc_core.evaluate import evaluating
    from asc_core.plan.encoder_cost import task_cost
    from asc_core.tasks.heads import can_answer

    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    split = split or "validation"
    original = asc_core.load_encoder(against, device=device) if against else None
    if recipe is not None:
        made = asc_core.Recipe.load(recipe).made(loaded, application, progress_line())
        if original is None and can_answer(made.before_cut, application):
            original, against = made.before_cut, encoder
        loaded = made.encoder
    options: dict[str, Any] = {"against": original, "limit": limit, "seed": seed, "progress": progress_line()}
    if half_width is None:
        estimate = asc_core.evaluate(loaded, application, split, **options)
    else:
        *_, estimate = evaluating(loaded, application, split, stop_at_half_width=half_width / 100, **options)
    cost = task_cost(loaded, application)
    low, high = estimate.interval
    say(
        as_json,
        f"{estimate.metric} {percent(estimate.value)} [{percent(low)}, {percent(high)}] "
        f"on {estimate.examples} {estimate.split} examples",
    )
    if estimate.difference is not None and estimate.difference_interval is not None:
        low, high = estimate.difference_interval
        say(
            as_json,
            f"difference to {against}: {100 * estimate.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]",
        )
    for note in estimate.notes:
        say(as_json, note)
    if estimate.truncated:
        say(as_json, f"{estimate.truncated} texts were truncated to {application.max_length} tokens")
    say(as_json, f"{cost.parameters:,} parameters, {cost.flops / 1e9:.3f} GFLOPs per text, {cost.bytes / 1e6:.1f} MB")
    return estimate.to_json() | {"parameters": cost.parameters, "flops": cost.flops, "bytes": cost.bytes}


@verb
def export(
    encoder: EncoderArgument,
    out: OutOption,
    format: FormatOption = "compact",
    plan: Annotated[Path | None, typer.Option("--plan", help="Cut this plan first.")] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="Apply this recipe first.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Measure the test metric for the model card.")] = None,
    packing: PackingOption = None,
    int8: Int8Option = False,
    keep: KeepOption = None,
    dtype: DtypeOption = None,
    transfer: TransferOption = False,
    overwrite: OverwriteOption = False,
    split: OnlySplitOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Write a model as a folder that others load, reload it in a fresh process, and compare.

    Example: asc export demo:nli --plan plan.json --format compact --task demo:nli -o smaller
    """
    import asc_core
    from asc_core.atomic_folder import check_free
    from asc_core.recipes.export_with_card import export_with_card

    if plan is not None and recipe is not None:
        raise UserError("Say either --plan or --recipe.")
    check_free(out, overwrite=overwrite)
    original = asc_core.load_encoder(encoder, device=device, base=base)
    steps = asc_core.Recipe.of(asc_core.Plan.load(plan), transfer) if plan is not None else None
    if recipe is not None:
        steps = asc_core.Recipe.load(recipe)
        steps = steps.transferred() if transfer else steps
    application = task_for(task, steps if recipe is not None else None, seed, split)
    if int8 or keep:
        steps = with_int8(steps, original, application, format, int8, keep)
    smaller, state = original, steps_folder(out)
    done: tuple[str, ...] = ()
    if steps is not None:
        made = steps.made(original, application, progress_line(), folder=state)
        original, smaller, done = made.before_cut, made.encoder, made.done
    report = export_with_card(
        smaller,
        original,
        out,
        recipe=steps,
        task=application,
        format=format,
        packing=packing or dtype,
        overwrite=overwrite,
        steps=done,
        progress=progress_line(),
    )
    shutil.rmtree(state, ignore_errors=True)
    say(as_json, f"{out}: {report.bytes / 1e6:.1f} MB")
    say(as_json, checked(report))
    return {
        "path": str(out),
        "format": report.format,
        "packing": report.packing,
        "bytes": report.bytes,
        "max_difference": report.max_difference,
        "files": list(report.files),
    }


@verb
def convert(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint folder with pickled weights (.bin).")],
    as_json: JsonOption = False,
) -> Any:
    """Make safetensors of pickled weights, read weights-only in a separate process.

    Example: asc convert old-checkpoint
    """
    from asc_core.export.convert import convert as to_safetensors

    written = to_safetensors(folder)
    say(as_json, f"{written} written; `asc evaluate {folder} ...` takes the folder now.")
    return {"path": str(written)}


@verb
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `asc export` or `asc compress` wrote.")],
    run_its_code: Annotated[
        bool, typer.Option("--run-its-code", help="Run code that the folder brings along, for a sender you trust.")
    ] = False,
    as_json: JsonOption = False,
) -> Any:
    """Check a folder that you were given: hashes of all files, its answers, and what it was made from.

    Example: asc verify smaller
    """
    from asc_core.export.verify import verify as verified

    found = verified(folder, run_its_code=run_its_code, progress=progress_line())
    stages = [step for stage in found.ancestry.stages for step in stage.steps]
    say(as_json, f"{folder}: {found.files} files are those that were exported (folder's digest {found.digest[:16]}).")
    say(as_json, f"It answers like the model that was exported (largest difference {found.max_difference:.1e}).")
    if stages:
        say(as_json, f"Made from {found.ancestry.base}: {'; '.join(stages)}.")
    return {
        "path": str(folder),
        "format": found.format,
        "files": found.files,
        "digest": found.digest,
        "max_difference": found.max_difference,
        "base": found.ancestry.base,
        "steps": stages,
    }
