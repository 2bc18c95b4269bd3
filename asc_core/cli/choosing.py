"""What to deploy, under limits of size, time and points lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.planning import stored_scores, study_with_scores
from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    EncoderArgument,
    JsonOption,
    RepairOption,
    RuntimeOption,
    SeedOption,
    SplitOption,
    StudyOption,
    TaskOption,
    ThreadsOption,
    load,
    percent,
    progress_line,
    repair_for,
    say,
    unmet,
    verb,
)

SHOWN = 12


@verb
def choose(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    mb: Annotated[float | None, typer.Option("--mb", min=0, help="At most so many MB on disk, with tokenizer.")] = None,
    ms: Annotated[float | None, typer.Option("--ms", min=0, help="At most so many milliseconds a batch.")] = None,
    points: Annotated[float | None, typer.Option("--points", min=0, help="At most so many points lost.")] = None,
    runtime: RuntimeOption = "onnxruntime",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts of a batch.")] = 1,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens of each text.")] = 128,
    threads: ThreadsOption = 1,
    method: Annotated[str, typer.Option("--method", "-m", help="Which stored scores cuts go by.")] = "obs",
    repair: RepairOption = None,
    measure: Annotated[
        int, typer.Option("--measure", min=0, help="Measure so many of the best; 0 ranks by what is known.")
    ] = 3,
    static: Annotated[
        bool, typer.Option("--static", help="Measure a static baseline, too: is a Transformer needed at all?")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The recipe of the best, for `asc export --recipe`.")
    ] = None,
    split: SplitOption = "validation",
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """What to deploy: cut, int8 and vocabulary together, within limits, measured where it will run.

    Example: asc choose demo:nli --task demo:nli --study studies/demo --mb 30 --points 1 --runtime onnxruntime
    """
    import torch

    from asc_core.evaluate.layer_times import device_name
    from asc_core.evaluate.speeds import Conditions
    from asc_core.recipes.deployment import Limits
    from asc_core.recipes.deployment_search import Deployment
    from asc_core.recipes.stored import stored_recipe

    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    kept = study_with_scores(study, encoder, task, method)
    kept.set_aside_other_data(application.name, split, application.data(split))
    limits = Limits(mb, ms, points)
    deployment = Deployment(
        loaded,
        application,
        kept,
        limits,
        stored_scores(kept, loaded, application, method, encoder, task, study),
        repair_for(repair, loaded, as_json),
        runtime,
        Conditions(batch_size, tokens, threads or torch.get_num_threads()),
        split,
        seed,
        progress_line(),
    )
    options = deployment.options()
    if measure:
        *_, options = deployment.choosing(measure)
    here = device_name(torch.device("cpu"))
    say(as_json, f"{batch_size} x {tokens} tokens on {threads} threads in {runtime}; {here}; {split} split")
    for option in options[:SHOWN]:
        say(as_json, _line(option, limits))
    if len(options) > SHOWN:
        say(as_json, f"and {len(options) - SHOWN} more (--json has all)")
    say(as_json, "~ is a forecast, not a measurement; --json says what each one rests on")
    result: dict[str, Any] = {
        "machine": here,
        "runtime": runtime,
        "batch_size": batch_size,
        "tokens": tokens,
        "threads": deployment.conditions.threads,
        "split": split,
        "limits": limits.of,
        "goal": limits.goal,
        "options": [option.to_json(limits) for option in options],
    }
    if static:
        result["static"] = _static(loaded, application, split, seed, as_json)
    best = options[0]
    if best.excess(limits) > 0:
        unmet(as_json, f"Nothing known is within these limits; the nearest is {best.title}: relax one of them.", result)
    if out is not None:
        recipe = deployment.recipe(best.variant) if best.variant else stored_recipe(kept, best.recipe_key)
        if recipe is None:
            say(as_json, f"{out} is not written: the original is the best within these limits.")
        else:
            recipe.for_task(application, task).save(out)
            say(as_json, f"{best.title} -> {out}")
    return result


def _line(option: Any, limits: Any) -> str:
    def said(figure: Any, digits: int) -> str:
        if figure.value != figure.value:
            return "?"
        return f"{'' if figure.measured else '~'}{figure.value:.{digits}f}"

    lost = said(option.points, 2)
    if option.points.measured and option.points.low is not None:
        lost += f" [{option.points.low:.2f}, {option.points.high:.2f}]"
    mark = "" if option.excess(limits) == 0 else "  beyond the limits"
    return f"{option.title:<52} {said(option.mb, 1):>7} MB {said(option.ms, 2):>8} ms  {lost} points lost{mark}"


def _static(encoder: Any, task: Any, split: str, seed: int, as_json: bool) -> dict[str, Any]:
    """The floor, or why there is none."""
    from asc_core.evaluate import evaluate
    from asc_core.evaluate.static_baseline import static_baseline, static_refusal

    refusal = static_refusal(task)
    if refusal is not None:
        say(as_json, f"no static baseline: {refusal}")
        return {"refused": refusal}
    floor = static_baseline(encoder, task, seed=seed)
    found = evaluate(floor, task, split, against=encoder, progress=progress_line())
    lost = -100 * (found.difference or 0.0)
    say(
        as_json,
        f"without a Transformer (mean of word embeddings, linear classifier): {found.metric} {percent(found.value)}, "
        f"{lost:.2f} points lost, {floor.bytes / 1e6:.1f} MB",
    )
    return {"mb": floor.bytes / 1e6, "points": lost, "estimate": found.to_json()}
