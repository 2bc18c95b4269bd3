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
    RuntimeOption,
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

FORMS = "bytes=9M, bytes=10%, flops=50% or ms=5"


@verb
def fit(
    encoder: EncoderArgument,
    task: TaskOption,
    budget: Annotated[
        str,
        typer.Option("--budget", "-b", help=f"What it may take: {FORMS}; with --points also bytes, flops or ms alone."),
    ],
    points: Annotated[
        float | None,
        typer.Option("--points", min=0, help="Find the smallest that loses at most so many points, see --budget."),
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option("--family", "-f", help="A family that may be used; repeat it. Default: all.")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="Distil the best for so many batches; 0 = nothing is trained.")
    ] = 0,
    most: Annotated[int, typer.Option("--most", min=1, help="Make and measure so many allocations at most.")] = 5,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0, help="Begin no further one after so many minutes.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The recipe, for `asc compress --recipe`.")] = None,
    study: Annotated[
        Path | None, typer.Option("--study", help="Where prices and results are kept; a second budget is quicker.")
    ] = None,
    runtime: RuntimeOption = "torch",
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

    Example: asc fit demo:nli --task demo:nli --budget bytes=9M -o small.json
    """
    import torch

    from asc_core.evaluate.speeds import Conditions
    from asc_core.recipes.allocation import Bound
    from asc_core.recipes.allocation_search import FAMILIES, Allocator
    from asc_core.study import Study

    bound = Bound.parse(budget)
    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    allocator = Allocator(
        loaded,
        application,
        bound,
        tuple(family) if family else FAMILIES,
        points=points,
        steps=steps,
        runtime=runtime,
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


def _line(one: Any, dense: Any) -> str:
    size = one.footprint
    ends = "" if one.interval is None else " [{:.2f}, {:.2f}]".format(*one.interval)
    ms = f", {size.ms:.2f} ms" if size.ms else ""
    mark = "" if one.meets else "  beyond the budget"
    return (
        f"{size.bytes / 1e6:7.2f} MB ({size.bytes / dense.bytes:.1%}), {size.flops / dense.flops:4.0%} of the FLOPs"
        f"{ms}, {one.points:.2f}{ends} points lost: {one.title}{mark}"
    )
