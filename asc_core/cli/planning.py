"""From scores to plans: budgets, and what a layer costs on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from asc_core.cli.verb import (
    BaseOption,
    BatchOption,
    DeviceOption,
    EncoderArgument,
    JsonOption,
    OnlySplitOption,
    OutOption,
    RoundToOption,
    RuntimeOption,
    SeedOption,
    StudyOption,
    TaskOption,
    ThreadsOption,
    as_choice,
    load,
    percent,
    progress_line,
    say,
    verb,
)
from asc_core.errors import UserError

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task


@verb
def latency(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    batch_size: BatchOption = 32,
    runtime: RuntimeOption = "torch",
    threads: ThreadsOption = None,
    again: Annotated[bool, typer.Option("--again", help="Measure again what the study holds already.")] = False,
    split: OnlySplitOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """How long a layer takes on this machine, by its heads and neurons: what `--budget latency=...` goes by.

    Example: asc latency demo:nli --task demo:nli --study studies/demo --latency-batch 1
    """
    import asc_core
    from asc_core.plan.encoder_cost import task_cost_model

    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    cost_model = task_cost_model(loaded, application)
    table = asc_core.layer_times(
        loaded,
        cost_model.lengths,
        batch_size,
        runtime=runtime,
        threads=threads,
        seed=seed,
        study=asc_core.Study.open(study),
        again=again,
        progress=progress_line(),
    )
    say(
        as_json,
        f"milliseconds for {batch_size} texts of {table.tokens:.0f} tokens; {table.runtime}, {table.device}, "
        f"{table.threads} threads",
    )
    for kind, widths, times in (("heads", table.heads, table.attention), ("neurons", table.neurons, table.ffn)):
        parts = ", ".join(f"{width}: {time / 1e6:.2f}" for width, time in zip(widths, times, strict=True))
        say(as_json, f"a layer's {kind}  {parts}")
    say(as_json, f"a layer without them {table.layer / 1e6:.2f}, outside the layers {table.outside / 1e6:.2f}")
    return table.to_json()


def budgets_of(given: list[str] | None) -> dict[str, float]:
    """From NAME=SHARE, each name once."""
    found: dict[str, float] = {}
    for text in given or []:
        name, _, share = text.partition("=")
        try:
            kept = float(share)
        except ValueError:
            raise UserError(f"--budget {text} is no budget: write NAME=SHARE, such as flops=0.5.") from None
        if name in found:
            raise UserError(f"--budget {name} was given twice; say one share of it.")
        found[name] = kept
    return found


def with_layer_times(
    cost_model: Any,
    wanted: Any,
    loaded: Encoder,
    study: Any,
    batch_size: int,
    runtime: str = "torch",
    threads: int | None = None,
) -> Any:
    """The cost model, with the layer times of this machine where latency is among what is wanted."""
    from asc_core import layer_times

    if "latency" not in wanted:
        if runtime != "torch" or threads is not None:
            raise UserError("--runtime and --threads are of a latency budget: say --budget latency=SHARE, too.")
        return cost_model
    options: dict[str, Any] = {"runtime": runtime, "threads": threads, "study": study, "progress": progress_line()}
    return cost_model.with_latency(layer_times(loaded, cost_model.lengths, batch_size, **options))


@verb
def plan(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="Which stored scores to use, or a published method with its own search: kwon, kprune, "
            "michel-iterative, textpruner-iterative, flap-adaptive, greedy-layers, shortgpt, or top-, bottom-, "
            "alternate-, symmetric-layers.",
        ),
    ],
    out: OutOption,
    keep_flops: Annotated[float | None, typer.Option(help="Share of the encoder's FLOPs to keep.")] = None,
    keep_parameters: Annotated[float | None, typer.Option(help="Share of all parameters to keep.")] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SHARE to keep of flops, parameters, bytes or latency (measured on this machine); several hold "
            "together."
        ),
    ] = None,
    round_to: RoundToOption = 1,
    latency_batch: BatchOption = 32,
    runtime: RuntimeOption = "torch",
    threads: ThreadsOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Remove layers with similarity >= this (asc-a, asc-b), or parts scoring below."),
    ] = None,
    keep_heads: Annotated[float | None, typer.Option(help="Share of the heads to keep.")] = None,
    keep_neurons: Annotated[float | None, typer.Option(help="Share of the neurons to keep.")] = None,
    keep_layers: Annotated[float | None, typer.Option(help="Share of the layers to keep.")] = None,
    scope: Annotated[Literal["layer", "global"], typer.Option(help="Rank within each layer or globally.")] = "global",
    min_heads: Annotated[int, typer.Option(min=0, help="Min. heads per kept layer.")] = 0,
    split: OnlySplitOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Which parts stay, from stored scores and one rule, or as a published method has it.

    Example: asc plan demo:nli --task demo:nli --study studies/demo --method fisher --keep-flops 0.5 -o plan.json
    """
    import asc_core
    from asc_core.compress import PUBLISHED
    from asc_core.plan import asc_greedy, by_budget, by_share, by_threshold
    from asc_core.plan.encoder_cost import task_cost_model

    budgets = budgets_of(
        (budget or [])
        + ([f"flops={keep_flops}"] if keep_flops is not None else [])
        + ([f"parameters={keep_parameters}"] if keep_parameters is not None else [])
    )
    shares = (keep_heads, keep_neurons, keep_layers)
    rules = [bool(budgets), threshold is not None, any(share is not None for share in shares)]
    if rules.count(True) != 1:
        raise UserError(
            "Say one rule: --keep-flops, --keep-parameters or --budget, --threshold, or "
            "--keep-heads/--keep-neurons/--keep-layers."
        )
    if round_to > 1 and not budgets:
        raise UserError("--round-to goes with a budget: thresholds and shares say themselves how many neurons stay.")
    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    whole = method in PUBLISHED
    kept = asc_core.Study.open(study) if whole else study_with_scores(study, encoder, task, method)
    scores = None if whole else stored_scores(kept, loaded, application, method, encoder, task, study)
    counted = task_cost_model(loaded, application)
    cost_model = with_layer_times(counted, budgets, loaded, kept, latency_batch, runtime, threads)
    if scores is None:
        chosen = _published(loaded, application, method, budgets, seed, min_heads > 0 or round_to > 1)
    elif budgets:
        chosen = by_budget(scores, cost_model, budgets, min_heads=min_heads, round_to=round_to)
    elif threshold is not None:
        if scores.similarity is None:
            chosen = by_threshold(scores, threshold, min_heads=min_heads)
        elif min_heads:
            raise UserError(f"--min-heads does not go with a threshold of {method}: it removes whole layers.")
        else:
            chosen = asc_greedy(scores, threshold)
    else:
        chosen = by_share(scores, keep_heads, keep_neurons, keep_layers, scope=scope, min_heads=min_heads)
    chosen = replace(chosen, provenance=replace(chosen.provenance, model=loaded.name))
    chosen.save(out)
    cost, dense = cost_model.cost(chosen), cost_model.dense
    say(as_json, f"{chosen.provenance.rule} -> {out}: {asc_core.Recipe.of(chosen).steps[0].describe()}")
    say(
        as_json,
        f"FLOPs {percent(cost.flops / dense.flops)}, parameters {percent(cost.parameters / dense.parameters)}"
        + (f", latency {percent(cost.latency / dense.latency)} predicted" if cost.latency and dense.latency else ""),
    )
    repair = PUBLISHED[method].repair if whole else None
    if repair is not None:
        say(as_json, f"its own repair: asc compress {encoder} --plan {out} --task {task} --repair {repair} -o smaller")
    return {
        "plan": str(out),
        "rule": chosen.provenance.rule,
        "parameters": cost.parameters,
        "flops": cost.flops,
        "bytes": cost.bytes,
        "kept_flops": cost.flops / dense.flops,
        "kept_parameters": cost.parameters / dense.parameters,
        **({"kept_latency": cost.latency / dense.latency} if cost.latency and dense.latency else {}),
    }


def _published(encoder: Encoder, task: Task, method: str, budgets: dict[str, float], seed: int, more: bool) -> Any:
    from asc_core.compress import published_plan
    from asc_core.plan.cost import COUNTED, Counted

    if len(budgets) != 1 or more or not set(budgets) <= set(COUNTED):
        raise UserError(
            f"{method} is used as published, for one budget: say --keep-flops, --keep-parameters or --budget "
            "bytes=SHARE alone, without --min-heads or --round-to."
        )
    ((name, keep),) = budgets.items()
    budget = as_choice("--budget", name, Counted)
    return published_plan(encoder, task, method, keep, budget, seed=seed, progress=progress_line())


def study_with_scores(folder: Path, encoder_name: str, task_name: str, method: str) -> Any:
    """A study that is there: one that is only read from is not made. Raises: UserError."""
    from asc_core.study import DATABASE, Study

    if not (folder / DATABASE).exists():
        raise UserError(
            f"There is no study at {folder}: "
            f"asc score {encoder_name} --task {task_name} --method {method} --study {folder}"
        )
    return Study.open(folder)


def stored_scores(
    study: Any, encoder: Encoder, task: Task, method: str, encoder_name: str, task_name: str, folder: Path
) -> Any:
    from asc_core.scores.data_fingerprint import is_current

    found = study.scores(task=task.name, method=method, weights=encoder.weights)
    current = [scores for scores in found if is_current(scores, task)]
    if not current:
        texts = ", of the texts that its file holds now" if found else ""
        raise UserError(
            f"{folder} has no {method} scores of {encoder_name} on {task.name}{texts}: "
            f"asc score {encoder_name} --task {task_name} --method {method} --study {folder}"
        )
    return current[0]
