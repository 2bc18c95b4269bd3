"""Models cut by a plan and repaired: one, or a whole frontier."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.models import checked, steps_folder, task_for
from asc_core.cli.planning import budgets_of, stored_scores, study_with_scores, with_layer_times
from asc_core.cli.verb import (
    BaseOption,
    BatchOption,
    DeviceOption,
    EncoderArgument,
    FormatOption,
    JsonOption,
    OnlySplitOption,
    OutOption,
    OverwriteOption,
    PackingOption,
    RepairOption,
    RoundToOption,
    RuntimeOption,
    SeedOption,
    SplitOption,
    StudyOption,
    TaskOption,
    ThreadsOption,
    TransferOption,
    as_choice,
    load,
    percent,
    progress_line,
    repair_for,
    repair_named,
    say,
    unmet,
    verb,
)
from asc_core.errors import UserError


@verb
def compress(
    encoder: EncoderArgument,
    out: OutOption,
    plan: Annotated[Path | None, typer.Option("--plan", help="A plan file.")] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A recipe file.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="For recipes whose steps need texts.")] = None,
    repair: Annotated[
        str,
        typer.Option(
            help="Re-fit the remaining weights by least squares on training texts: `sequential`, bottom-up, or "
            "`one-shot`; where layers share weights (ALBERT): `shared-weights`; as published: `mask-tuning` (Kwon), "
            "`reconstruction` (K-prune), `bias` (FLAP). Needs --task.",
        ),
    ] = "none",
    format: FormatOption = "compact",
    packing: PackingOption = None,
    transfer: TransferOption = False,
    overwrite: OverwriteOption = False,
    split: OnlySplitOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Cut a model for real and write it as a folder that others load.

    A recipe whose steps train resumes when it is killed and repeated.

    Example: asc compress demo:nli --plan plan.json --task demo:nli --repair sequential -o smaller
    """
    import asc_core

    if (plan is None) == (recipe is None):
        raise UserError("Say either --plan or --recipe.")
    from asc_core.atomic_folder import check_free
    from asc_core.export import check_possible
    from asc_core.recipes.export_with_card import export_with_card

    check_free(out, overwrite=overwrite)
    original = asc_core.load_encoder(encoder, device=device, base=base)
    check_possible(original, format, packing)
    if repair != "none" and (plan is None or task is None):
        raise UserError("--repair goes with --plan and --task (a recipe says itself what is repaired).")
    if plan is not None:
        steps = asc_core.Recipe.repaired(asc_core.Plan.load(plan), repair_named(repair), transfer, seed=seed)
    else:
        assert recipe is not None
        steps = asc_core.Recipe.load(recipe)
        steps = steps.transferred() if transfer else steps
    application = task_for(task, steps if recipe is not None else None, seed, split)
    state = steps_folder(out)
    made = steps.made(original, application, progress_line(), folder=state)
    smaller = made.encoder
    report = export_with_card(
        smaller,
        made.before_cut,
        out,
        recipe=steps,
        task=application,
        format=format,
        packing=packing,
        overwrite=overwrite,
        steps=made.done,
        progress=progress_line(),
    )
    shutil.rmtree(state, ignore_errors=True)
    for done in made.done:
        say(as_json, done)
    say(as_json, f"{out}: {smaller.parameters:,} parameters ({percent(smaller.parameters / original.parameters)})")
    say(as_json, checked(report))
    for note in report.notes:
        say(as_json, note)
    return {
        "path": str(out),
        "parameters": smaller.parameters,
        "original_parameters": original.parameters,
        "bytes": report.bytes,
        "max_difference": report.max_difference,
        "notes": list(report.notes),
    }


@verb
def frontier(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    method: Annotated[str, typer.Option("--method", "-m", help="Which scores to use.")] = "obs",
    repair: RepairOption = None,
    keep: Annotated[
        list[float] | None, typer.Option("--keep", min=0, max=1, help="A share to keep; may be repeated.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="What --keep is a share of: flops (the default), parameters, bytes or latency; NAME=SHARE adds a "
            "budget at a fixed share. May be repeated."
        ),
    ] = None,
    round_to: RoundToOption = 1,
    latency_batch: BatchOption = 32,
    runtime: RuntimeOption = "torch",
    threads: ThreadsOption = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Instead: the smallest model whose metric drops by at most so many points, by --max-drop-by; where "
            "there is none, the nearest one, and exit code 3.",
        ),
    ] = None,
    max_drop_by: Annotated[
        str,
        typer.Option(
            help="What has to be within --max-drop: `interval`, the whole 95 % interval of the difference (of a search "
            "that may stop at any number of examples, so wider than a single measurement's): sure, and strict; or "
            "`value`, the measured difference alone."
        ),
    ] = "interval",
    split: SplitOption = "validation",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The recipe's file with --max-drop, else a folder of all."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Compressed models for ten budgets, measured, or the smallest one within a maximal drop of the metric.

    Example: asc frontier demo:nli --task demo:nli --study studies/demo --max-drop 1.0 -o recipe.json
    """
    from asc_core.plan import Budget
    from asc_core.plan.encoder_cost import task_cost_model
    from asc_core.recipes.frontier import DropRule, Workbench, rule_in_words, smallest_within
    from asc_core.recipes.frontier import frontier as points_of

    if max_drop is not None and keep:
        raise UserError("Say either --keep, the shares of a curve, or --max-drop, for which the share is searched.")
    rule = as_choice("--max-drop-by", max_drop_by, DropRule)
    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    loaded.require_parts()
    repair = repair_for(repair, loaded, as_json)
    kept = study_with_scores(study, encoder, task, method)
    kept.set_aside_other_data(application.name, split, application.data(split))
    scores = stored_scores(kept, loaded, application, method, encoder, task, study)
    along = [text for text in budget or [] if "=" not in text] or ["flops"]
    fixed = budgets_of([text for text in budget or [] if "=" in text])
    if len(along) > 1 or along[0] in fixed:
        raise UserError(
            f"--budget names {' and '.join([*along, *fixed])}: name one for the curve to go along, and give each "
            "other one its share, as in --budget flops --budget latency=0.6."
        )
    counted = task_cost_model(loaded, application)
    timed = with_layer_times(counted, {*along, *fixed}, loaded, kept, latency_batch, runtime, threads)
    bench = Workbench(
        loaded,
        application,
        scores,
        repair,
        as_choice("--budget", along[0], Budget),
        split,
        seed=seed,
        within=fixed,
        round_to=round_to,
        latency=timed.latency,
        progress=progress_line(),
    )
    asked = sorted(keep or [step / 10 for step in range(1, 10)] + [0.95])
    points = []
    smallest = None if max_drop is None else smallest_within(bench, max_drop / 100, rule)
    within = smallest is None or smallest.within
    for point in points_of(bench, asked) if smallest is None else [smallest.point]:
        points.append(point)
        kept.save_evaluation(
            loaded.weights,
            point.recipe.key,
            application.name,
            split,
            point.estimate,
            # The predicted latency belongs to this table and this batch size, and a share of it to no other.
            cost={name: value for name, value in asdict(point.cost).items() if name != "latency"},
            recipe=point.recipe,
            name=f"{point.keep:.2f} {method}, {repair or 'none'}",
            data=application.data(split),
        )
        if out is not None and within:
            kept_in = out if max_drop is not None else out / f"{point.keep:.2f}.json"
            point.recipe.for_task(application, task).save(kept_in)
        say(as_json, _point_line(point, bench))
    if max_drop is None and len(points) < len(asked):
        least = f"a cut by {method} keeps {percent(bench.smallest)} at least"
        say(as_json, f"left out: {', '.join(f'{keep:g}' for keep in asked if keep < bench.smallest)}; {least}")
    result: dict[str, Any] = {"split": split, "method": method, "repair": repair or "none"}
    result["points"] = [_point_json(p, bench) for p in points]
    if smallest is not None:
        result |= {"max_drop": max_drop, "max_drop_by": rule, "within": smallest.within}
        limit = f"{max_drop:g} points ({rule_in_words(rule)})"
        if not smallest.within:
            unmet(as_json, _none_within(smallest.point, bench, limit, rule), result)
        say(as_json, f"the smallest cut by {method} whose drop is at most {limit}")
    return result


def _none_within(point: Any, bench: Any, limit: str, rule: str) -> str:
    other = ", judge by --max-drop-by value" if rule == "interval" else ""
    return (
        f"No cut by {bench.scores.method} drops by at most {limit} on the {bench.split} split. The nearest keeps "
        f"{percent(point.keep)} of the {bench.budget} and is not written (--keep {point.keep:g} would): allow a larger "
        f"drop{other}, or score and measure on more examples."
    )


def _point_line(point: Any, bench: Any) -> str:
    found, low_high = point.estimate, point.estimate.difference_interval or (0.0, 0.0)
    return (
        f"{percent(point.cost.flops / bench.cost_model.dense.flops)} of the FLOPs, "
        f"{percent(point.cost.parameters / bench.cost_model.dense.parameters)} of the parameters: "
        f"{found.metric} {percent(found.value)}, {100 * (found.difference or 0):+.1f} points "
        f"[{100 * low_high[0]:+.1f}, {100 * low_high[1]:+.1f}] on {found.examples:,} {bench.split} examples"
    )


def _point_json(point: Any, bench: Any) -> dict[str, Any]:
    dense = bench.cost_model.dense
    return {
        "keep": point.keep,
        "kept_flops": point.cost.flops / dense.flops,
        "kept_parameters": point.cost.parameters / dense.parameters,
        "estimate": asdict(point.estimate),
        "recipe": point.recipe.key,
    }
