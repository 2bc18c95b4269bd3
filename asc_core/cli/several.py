"""Several applications at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import (
    DeviceOption,
    JsonOption,
    RepairOption,
    SeedOption,
    SplitOption,
    StudyOption,
    as_choice,
    load,
    percent,
    progress_line,
    repair_for,
    say,
    verb,
)

ApplicationsArgument = Annotated[
    list[str], typer.Argument(metavar="APPLICATION...", help="demo:NAME, or NAME=ENCODER,TASK; two or more.")
]
KeepOption = Annotated[float, typer.Option("--keep", min=0.01, max=1, help="Share to keep.")]
ShareOption = Annotated[str, typer.Option("--budget", help="Of what: layer-parameters, parameters, flops or bytes.")]
SamplesOption = Annotated[int, typer.Option("--samples", min=8, help="Calibration texts.")]


def _applications(given: list[str], seed: int, device: str | None, split: str) -> list[Any]:
    from asc_core.recipes.transfer_matrix import Application

    made = []
    for one in given:
        name, _, both = one.rpartition("=") if "=" in one else (one.removeprefix("demo:"), "", one)
        encoder, _, task = both.partition(",")
        made.append(Application(name, *load(encoder, task or encoder, seed, device, split=split)))
    return made


@verb
def matrix(
    applications: ApplicationsArgument,
    study: StudyOption,
    keep: KeepOption = 0.5,
    budget: ShareOption = "layer-parameters",
    method: Annotated[str, typer.Option("--method", "-m", help="Which scores; without labels for general text.")] = (
        "obs"
    ),
    repair: RepairOption = None,
    general: Annotated[
        str | None, typer.Option("--general", help="A task whose texts stand for general text (labels are not used).")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Cut this pre-trained encoder instead, and train it for each column.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of that training.")] = 200,
    split: SplitOption = "validation",
    samples: SamplesOption = 1024,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Compressed for one application, measured on every other; and what it costs to know none.

    Killed and repeated, it resumes. Example: asc matrix demo:nli demo:paraphrase demo:intent --study studies/demo
    """
    import asc_core
    from asc_core.compress.choose import Share
    from asc_core.recipes.transfer_matrix import Settings, TransferMatrix
    from asc_core.recipes.transfer_matrix_store import cells_in_study, keep_report, report
    from asc_core.train.steps import Finetune

    share = as_choice("--budget", budget, Share)
    made = _applications(applications, seed, device, split)
    asked = Settings(keep, share, method, repair_for(repair, made[0].encoder, as_json), samples, seed, split)
    whole = TransferMatrix(
        made,
        asked,
        asc_core.load_task(general) if general else None,
        asc_core.load_encoder(base, device=device) if base else None,
        [Finetune(epochs=steps, steps=steps, seed=seed, patience=None)] if base else [],
        progress=progress_line(),
    )
    kept = asc_core.Study.open(study)
    cells = []
    for cell in cells_in_study(whole, kept):
        cells.append(cell)
        found = cell.estimate
        say(
            as_json,
            f"cut for {cell.row}, on {cell.column}: {found.metric} {percent(found.value)}, "
            f"{100 * (found.difference or 0):+.1f} points",
        )
    result = report(whole, cells)
    keep_report(kept, result)
    for price in result["prices"]:
        low, high = price["interval"]
        say(
            as_json,
            f"not knowing the application ({price['row']}) costs {100 * price['value']:.1f} points "
            f"[{100 * low:.1f}, {100 * high:.1f}] on average",
        )
    return result


@verb
def shared(
    applications: ApplicationsArgument,
    keep: KeepOption = 0.5,
    budget: ShareOption = "layer-parameters",
    reduce: Annotated[
        str, typer.Option(help="Scores over applications: their weighted `sum`, or `max`, where a part matters most.")
    ] = "sum",
    points: Annotated[int, typer.Option(min=2, help="Of the trade-off from one application to the others.")] = 5,
    method: Annotated[str, typer.Option("--method", "-m", help="Which scores.")] = "obs",
    repair: RepairOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the plans, named by their weights.")
    ] = None,
    split: SplitOption = "validation",
    samples: SamplesOption = 1024,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """One plan for several applications: what each loses as the weight moves from one to the others.

    Example: asc shared demo:nli demo:intent --keep 0.5 --reduce max -o plans
    """
    from asc_core.compress.choose import Share
    from asc_core.plan.combined_scores import Reduction
    from asc_core.recipes.joint_plan import pareto_between_tasks
    from asc_core.recipes.transfer_matrix import Settings, TransferMatrix

    share = as_choice("--budget", budget, Share)
    made = _applications(applications, seed, device, split)
    asked = Settings(keep, share, method, repair_for(repair, made[0].encoder, as_json), samples, seed, split)
    whole = TransferMatrix(made, asked, progress=progress_line())
    found = []
    for point in pareto_between_tasks(whole, points, as_choice("--reduce", reduce, Reduction)):
        weights = {application.name: weight for application, weight in zip(made, point.weights, strict=True)}
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            point.plan.save(out / f"{'-'.join(f'{weight:.2f}' for weight in point.weights)}.json")
        losses = [
            f"{name} (weight {weights[name]:.2f}) {percent(e.value)}, {100 * (e.difference or 0):+.1f} points"
            for name, e in zip(weights, point.estimates, strict=True)
        ]
        say(as_json, "; ".join(losses))
        estimates = {name: e.to_json() for name, e in zip(weights, point.estimates, strict=True)}
        found.append({"weights": weights, "plan": point.plan.key, "estimates": estimates})
    return {"settings": asdict(asked), "reduce": reduce, "points": found}
