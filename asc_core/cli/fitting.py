"""The best model within one budget, from all families of compression."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    EncoderArgument,
    JsonOption,
    SeedOption,
    SplitOption,
    TaskOption,
    ThreadsOption,
    load,
    progress_line,
    say,
    unmet,
    verb,
)
from asc_core.errors import UserError

FORMS = "bytes=9M, bytes=10%, flops=50% or ms=5"


@verb
def fit(
    encoder: EncoderArgument,
    task: TaskOption,
    budget: Annotated[
        str | None,
        typer.Option("--budget", "-b", help=f"What it may take: {FORMS}; with --points also bytes, flops or ms alone."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Budget and points by name: no-retraining, fast, smallest, half, on-device-nlu; "
            "options that are given, too, count instead of its own.",
        ),
    ] = None,
    points: Annotated[
        float | None,
        typer.Option("--points", min=0, help="Find the smallest that loses at most so many points, see --budget."),
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option("--family", "-f", help="A family that may be used; repeat it. Default: all.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=0, help="Distil the best for so many batches. Default: nothing is trained."),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Make and measure so many allocations at most.")] = 5,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0, help="Begin no further one after so many minutes.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The recipe, for `asc compress --recipe`.")] = None,
    study: Annotated[
        Path | None, typer.Option("--study", help="Where prices and results are kept; a second budget is quicker.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="What runs the model, for budgets in ms. Default: torch.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts of a batch, of a budget in ms.")] = 1,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens of each text, of a budget in ms.")] = 128,
    threads: ThreadsOption = None,
    split: SplitOption = "validation",
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """The best model within one budget, or the smallest that loses few enough points: all families compete for it.

    Each family is priced alone, the best allocations are made and measured, the best one's recipe is written.

    With --preset on-device-nlu the recipe of the largest student that fits is written, and nothing is trained yet.

    Example: asc fit demo:nli --task demo:nli --budget bytes=9M -o small.json
    """
    import torch

    from asc_core.evaluate.speeds import Conditions
    from asc_core.recipes.allocation import Bound
    from asc_core.recipes.allocation_search import FAMILIES, Allocator
    from asc_core.recipes.budget_presets import ON_DEVICE, budget_preset, fastest_runtime
    from asc_core.study import Study

    known = budget_preset(preset) if preset is not None else None
    if known is not None:
        budget = budget or known.budget
        points = known.points if points is None else points
        steps = known.steps if steps is None else steps
        runtime = runtime or (fastest_runtime() if known.fastest_runtime else None)
        threads = 1 if known.fastest_runtime and threads is None else threads
    if not budget:
        raise UserError(f"Say what it may take: --budget {FORMS}.")
    bound = Bound.parse(budget)
    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    if known is not None and known.name == ON_DEVICE:
        return _on_device(loaded, application, bound, encoder, task, out, seed, as_json)
    allocator = Allocator(
        loaded,
        application,
        bound,
        tuple(family) if family else FAMILIES,
        points=points,
        steps=steps or 0,
        runtime=runtime or "torch",
        conditions=Conditions(batch_size, tokens, threads or torch.get_num_threads()),
        split=split,
        seed=seed,
        study=Study.open(study) if study is not None else None,
        progress=progress_line(),
    )
    made = []
    for made in allocator.search(most, None if minutes is None else 60 * minutes):
        say(as_json, _line(made[-1] if len(made) == 1 else made[0], allocator.dense))
    best = made[0]
    result = {
        "budget": budget,
        "split": split,
        "original": {"bytes": round(allocator.dense.bytes), "flops": allocator.dense.flops},
        "left_out": allocator.refused,
        "made": [one.to_json() for one in made],
    }
    say(as_json, "")
    for name, reason in allocator.refused.items():
        say(as_json, f"{name} was left out: {reason}")
    for one in made:
        say(as_json, _line(one, allocator.dense))
    say(as_json, f"points lost on the {split} split, which also chose; measure the final model on another one")
    if not best.meets:
        asked = budget if points is None else f"{budget} and {points:g} points"
        unmet(as_json, f"Nothing that was made is within {asked}: raise --most, or ask for less.", result)
    if out is not None:
        best.recipe.for_task(application, task).save(out)
        say(as_json, f"{best.title} -> {out}")
    return result


def _on_device(
    encoder: Any, task: Any, bound: Any, source: str, task_source: str, out: Path | None, seed: int, as_json: bool
) -> dict[str, Any]:
    """The recipe of the largest student that fits, and how a model is made of it."""
    from asc_core.modeling import count
    from asc_core.recipes import Recipe
    from asc_core.recipes.on_device import largest_within

    if bound.axis != "bytes":
        raise UserError("On-device NLU goes by bytes: --budget bytes=900k or bytes=1%.")
    whole = count(encoder.model, "float32").bytes
    found = largest_within(encoder, task, bound.most * whole if bound.share else bound.most, progress_line())
    recipe = Recipe(found.steps(task, seed=seed))
    of = "of one file, tokenizer included" if found.of_file else "of weights: this encoder has no device file"
    say(as_json, f"{found.bytes:,} bytes {of}, {found.bytes / whole:.2%} of the original's {whole / 1e6:.1f} MB")
    for step in recipe.steps:
        say(as_json, f"  {step.describe()}")
    if out is not None:
        recipe.for_task(task, task_source).save(out)
        form = " --format device" if found.of_file else ""
        say(as_json, f"{out}; then: asc compress {source} --task {task_source} --recipe {out}{form} -o smallest")
    return {"bytes": found.bytes, "of_file": found.of_file, "original": {"bytes": whole}, "recipe": recipe.to_json()}


def _line(one: Any, dense: Any) -> str:
    size = one.footprint
    ends = "" if one.interval is None else " [{:.2f}, {:.2f}]".format(*one.interval)
    ms = f", {size.ms:.2f} ms" if size.ms else ""
    mark = "" if one.meets else "  beyond the budget"
    return (
        f"{size.bytes / 1e6:7.2f} MB ({size.bytes / dense.bytes:.1%}), {size.flops / dense.flops:4.0%} of the FLOPs"
        f"{ms}, {one.points:.2f}{ends} points lost: {one.title}{mark}"
    )
