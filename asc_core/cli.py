"""The `asc` command: the engine's verbs, one function each.

Results go to standard output (with --json as one object), progress and remarks to standard error. Exit codes: 0 done,
2 the input cannot be used (one sentence says why), 130 interrupted; anything else is our mistake.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asc_core.errors import Cancelled, UserError
from asc_core.progress import Progress

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task

# The engine is imported inside the verbs: `asc --help` should not wait for torch.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See which parts of a Transformer encoder an application does not need, cut them, take the result away.",
)

EncoderArgument = Annotated[
    str, typer.Argument(metavar="ENCODER", help="A checkpoint or adapter folder, a hub id, or demo:NAME.")
]
TaskOption = Annotated[str, typer.Option("--task", help="A preset, a task file (TOML), or demo:NAME.")]
StudyOption = Annotated[Path, typer.Option("--study", help="The folder that keeps the results.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Draws samples and splits.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; by default the best there is.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
BatchOption = Annotated[int, typer.Option("--latency-batch", min=1, help="Texts a batch, for budgets of latency.")]
MultipleOption = Annotated[
    int, typer.Option(min=1, help="Every layer keeps a multiple of so many neurons: sizes that the hardware likes.")
]
TransferOption = Annotated[
    bool, typer.Option("--transfer", help="Use a plan made from other weights of the same shape.")
]


ApplicationsArgument = Annotated[
    list[str], typer.Argument(metavar="APPLICATION...", help="demo:NAME, or NAME=ENCODER,TASK; two or more.")
]


class RepairMode(StrEnum):
    """How what stays is repaired after a cut."""

    none = "none"
    one_shot = "one-shot"
    sequential = "sequential"
    mask_tuning = "mask-tuning"
    reconstruction = "reconstruction"
    bias = "bias"

    @property
    def mode(self) -> Any:
        """As `Recipe.repaired` takes it."""
        return None if self is RepairMode.none else self.value


class Targets(StrEnum):
    """Which labels a loss is computed against."""

    gold = "gold"
    sampled = "sampled"
    argmax = "argmax"


def _verb(function: Callable[..., Any]) -> Callable[..., None]:
    """Errors become one sentence and an exit code; the returned object is printed."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            result = function(*args, **kwargs)
        except UserError as error:
            typer.echo(f"asc: {error}", err=True)
            raise typer.Exit(2) from None
        except (Cancelled, KeyboardInterrupt):
            typer.echo("asc: interrupted; what was finished is kept.", err=True)
            raise typer.Exit(130) from None
        if kwargs.get("as_json") and result is not None:
            typer.echo(json.dumps(result))

    return run


def _progress() -> Progress:
    """A line on standard error that rewrites itself on a terminal, and says each tenth elsewhere."""
    terminal = sys.stderr.isatty()
    said = -1

    def report(done: int, total: int, what: str) -> None:
        nonlocal said
        tenth = 10 * done // max(total, 1)
        if terminal:
            end = "\n" if done >= total else ""
            print(f"\r\033[K{what}  {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif tenth != said:
            said = tenth
            print(f"{what}  {done}/{total}", file=sys.stderr, flush=True)

    return Progress(report)


def _say(as_json: bool, text: str) -> None:
    typer.echo(text, err=as_json)


def _load(encoder: str, task: str, seed: int, device: str | None, split: str | None = None) -> tuple[Encoder, Task]:
    from asc_core import load_encoder, load_task

    return load_encoder(encoder, device=device), load_task(task, split_seed=seed, split=split)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


@app.command()
@_verb
def demo(as_json: JsonOption = False) -> Any:
    """What the embedded demo holds, with each application's measured test metric.

    Example: asc demo
    """
    from asc_core.demo import applications

    found = [application.to_json() for application in applications()]
    if not as_json:
        for entry in found:
            report = entry["report"]
            measured = (
                f"{report['metric']} {_percent(report['value'])} "
                f"[{_percent(report['interval'][0])}, {_percent(report['interval'][1])}] on {report['examples']} "
                f"{report['split']} examples"
                if report
                else "not trained"
            )
            typer.echo(f"demo:{entry['name']:<11} {entry['kind']:<20} {measured}")
            typer.echo(f"{'':<17}{entry['description']}")
        typer.echo("\nNext: asc dashboard, or asc score demo:nli --task demo:nli --study studies/demo")
    return {"applications": found}


@app.command()
@_verb
def score(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", "-m", help="May be repeated, `all` = also the dearer ones; default: all that share one pass."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Calibration examples.")] = 1024,
    split: Annotated[str, typer.Option(help="Which split to score on.")] = "train",
    targets: Annotated[
        Targets | None, typer.Option(help="Labels for sensitivity methods: gold, or the model's own: sampled, argmax.")
    ] = None,
    stop_when_settled: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Stop once rankings are this stable (0.95); a higher value later goes on."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """How much every head, neuron, sublayer and layer contributes to a task. Killed and repeated, it goes on.

    Example: asc score demo:nli --task demo:nli --method fisher --method asc-b --study studies/demo
    """
    import asc_core

    loaded, application = _load(encoder, task, seed, device, split=split)
    found = asc_core.score(
        loaded,
        application,
        method or None,
        study=asc_core.Study.open(study),
        split=split,
        samples=samples,
        targets=targets.value if targets is not None else None,
        stop_when_settled=stop_when_settled,
        seed=seed,
        progress=_progress(),
    )
    for name, scores in found.items():
        seen = f"{scores.examples} {scores.split} examples, labels: {scores.labels}" if scores.examples else "no data"
        _say(as_json, f"{name}: scored on {seen}")
    return {
        "study": str(study),
        "task": application.name,
        "scores": [
            {"method": s.method, "split": s.split, "examples": s.examples, "labels": s.labels, "seed": s.seed}
            for s in found.values()
        ],
    }


@app.command()
@_verb
def latency(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    batch_size: BatchOption = 32,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what the study holds already.")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """How long a layer takes on this machine, by its heads and neurons: what `--budget latency=...` goes by.

    Example: asc latency demo:nli --task demo:nli --study studies/demo --latency-batch 1
    """
    import asc_core
    from asc_core.plan.encoder_cost import task_cost_model

    loaded, application = _load(encoder, task, seed, device)
    cost_model = task_cost_model(loaded, application)
    table = asc_core.layer_times(
        loaded,
        cost_model.lengths,
        batch_size,
        seed=seed,
        study=asc_core.Study.open(study),
        again=again,
        progress=_progress(),
    )
    _say(
        as_json,
        f"milliseconds for {batch_size} texts of {table.tokens:.0f} tokens; {table.device}, {table.threads} threads",
    )
    for kind, widths, times in (("heads", table.heads, table.attention), ("neurons", table.neurons, table.ffn)):
        parts = ", ".join(f"{width}: {time / 1e6:.2f}" for width, time in zip(widths, times, strict=True))
        _say(as_json, f"a layer's {kind}  {parts}")
    _say(as_json, f"a layer without them {table.layer / 1e6:.2f}, outside the layers {table.outside / 1e6:.2f}")
    return table.to_json()


def _budgets(given: list[str] | None) -> dict[str, float]:
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


def _timed(cost_model: Any, wanted: Any, loaded: Encoder, study: Any, batch_size: int) -> Any:
    """The cost model, with the layer times of this machine where latency is among what is wanted."""
    from asc_core import layer_times

    if "latency" not in wanted:
        return cost_model
    return cost_model.with_latency(
        layer_times(loaded, cost_model.lengths, batch_size, study=study, progress=_progress())
    )


@app.command()
@_verb
def plan(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="Which stored scores to use, or a published method that looks for itself: kwon, kprune, "
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
            help="NAME=SHARE to keep of flops, parameters, bytes or latency (measured on this machine); repeated, all "
            "of them hold."
        ),
    ] = None,
    multiple: MultipleOption = 1,
    latency_batch: BatchOption = 32,
    threshold: Annotated[
        float | None, typer.Option(help="Similarity above which a layer goes (asc-a, asc-b), or score below which.")
    ] = None,
    keep_heads: Annotated[float | None, typer.Option(help="Share of the heads to keep.")] = None,
    keep_neurons: Annotated[float | None, typer.Option(help="Share of the neurons to keep.")] = None,
    keep_layers: Annotated[float | None, typer.Option(help="Share of the layers to keep.")] = None,
    scope: Annotated[str, typer.Option(help="Shares of every 'layer', or 'global'.")] = "global",
    min_heads: Annotated[int, typer.Option(min=0, help="Heads that every kept layer keeps.")] = 0,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Which parts stay, from stored scores and one rule, or as a published method has it.

    Example: asc plan demo:nli --task demo:nli --study studies/demo --method fisher --keep-flops 0.5 -o plan.json
    """
    import asc_core
    from asc_core.compress import PUBLISHED
    from asc_core.plan import asc_greedy, by_budget, by_share, by_threshold
    from asc_core.plan.encoder_cost import task_cost_model

    budgets = _budgets(
        (budget or [])
        + ([f"flops={keep_flops}"] if keep_flops is not None else [])
        + ([f"parameters={keep_parameters}"] if keep_parameters is not None else [])
    )
    shares = (keep_heads, keep_neurons, keep_layers)
    if bool(budgets) + (threshold is not None) + any(s is not None for s in shares) != 1:
        raise UserError(
            "Say one rule: --keep-flops, --keep-parameters or --budget, --threshold, or "
            "--keep-heads/--keep-neurons/--keep-layers."
        )
    if multiple > 1 and not budgets:
        raise UserError("--multiple goes with a budget: thresholds and shares say themselves how many neurons stay.")
    loaded, application = _load(encoder, task, seed, device)
    kept = asc_core.Study.open(study)
    whole = method in PUBLISHED
    scores = None if whole else _stored_scores(kept, loaded, application, method, encoder, task, study)
    cost_model = _timed(task_cost_model(loaded, application), budgets, loaded, kept, latency_batch)
    if scores is None:
        chosen = _published(loaded, application, method, budgets, seed, min_heads > 0 or multiple > 1)
    elif budgets:
        chosen = by_budget(scores, cost_model, budgets, min_heads=min_heads, multiple=multiple)
    elif threshold is not None:
        rule = asc_greedy if scores.similarity is not None else by_threshold
        chosen = rule(scores, threshold)
    else:
        chosen = by_share(scores, keep_heads, keep_neurons, keep_layers, scope=scope, min_heads=min_heads)  # type: ignore[arg-type]
    chosen = replace(chosen, provenance=replace(chosen.provenance, model=loaded.name))
    chosen.save(out)
    cost, dense = cost_model.cost(chosen), cost_model.dense
    _say(as_json, f"{chosen.provenance.rule} -> {out}: {asc_core.Recipe.of(chosen).steps[0].describe()}")
    _say(
        as_json,
        f"FLOPs {_percent(cost.flops / dense.flops)}, parameters {_percent(cost.parameters / dense.parameters)}"
        + (f", latency {_percent(cost.latency / dense.latency)} as foretold" if cost.latency and dense.latency else ""),
    )
    repair = PUBLISHED[method].repair if whole else None
    if repair is not None:
        _say(as_json, f"its own repair: asc compress {encoder} --plan {out} --task {task} --repair {repair} -o smaller")
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
    from asc_core.plan.cost import COUNTED

    if len(budgets) != 1 or more or not set(budgets) <= set(COUNTED):
        raise UserError(
            f"{method} is used as published, for one budget: say --keep-flops, --keep-parameters or --budget "
            "bytes=SHARE alone, without --min-heads or --multiple."
        )
    ((budget, keep),) = budgets.items()
    return published_plan(encoder, task, method, keep, budget, seed=seed, progress=_progress())  # type: ignore[arg-type]


@app.command()
@_verb
def trust(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    samples: Annotated[int, typer.Option(min=1, help="Examples for the exact ablation, the truth.")] = 256,
    held_out: Annotated[int, typer.Option(min=1, help="Validation examples for the loss curves.")] = 256,
    split: Annotated[str, typer.Option(help="Which split to ablate on.")] = "train",
    curve_split: Annotated[str, typer.Option(help="Which split the loss curves are measured on.")] = "validation",
    neuron_groups: Annotated[bool, typer.Option(help="Ablate groups of neurons too (slower).")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """How far each stored score can be trusted, by exact ablation and by the loss curve of its order.

    Killed and repeated, it goes on. Example: asc trust demo:nli --task demo:nli --study studies/demo
    """
    import asc_core
    from asc_core.scores.trust import trust_in_study

    loaded = asc_core.load_encoder(encoder, device=device)
    application = asc_core.load_task(task, split_seed=seed, split=split if split == curve_split else None)
    kept = asc_core.Study.open(study)
    if not kept.scores(task=application.name, weights=loaded.weights):
        raise UserError(
            f"{study} has no scores of {encoder} on {application.name}: "
            f"asc score {encoder} --task {task} --study {study}"
        )
    report = trust_in_study(
        loaded,
        application,
        kept,
        samples=samples,
        held_out=held_out,
        split=split,
        curve_split=curve_split,
        neuron_groups=neuron_groups,
        seed=seed,
        progress=_progress(),
    )
    _say(as_json, report.table())
    _say(
        as_json,
        f"area: loss above the original's while parts go in a method's order, on {report.curve_examples} "
        f"{report.curve_split} examples; 1 = a random order. rho, tau, top: agreement with ablation on "
        f"{report.truth_examples} {report.truth_split} examples.",
    )
    for sentence in report.verdict():
        _say(as_json, sentence)
    return report.to_json() | {"study": str(study)}


def _stored_scores(
    study: Any, encoder: Encoder, task: Task, method: str, encoder_name: str, task_name: str, folder: Path
) -> Any:
    found = study.scores(task=task.name, method=method, weights=encoder.weights)
    if not found:
        raise UserError(
            f"{folder} has no {method} scores of {encoder_name} on {task.name}: "
            f"asc score {encoder_name} --task {task_name} --method {method} --study {folder}"
        )
    return found[0]


@app.command()
@_verb
def compress(
    encoder: EncoderArgument,
    out: OutOption,
    plan: Annotated[Path | None, typer.Option("--plan", help="A plan file.")] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A recipe file.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="For recipes whose steps need texts.")] = None,
    repair: Annotated[
        RepairMode,
        typer.Option(
            help="Let what stays take over what goes, in closed form on training texts: `sequential`, bottom-up, or "
            "`one-shot`; as published: `mask-tuning` (Kwon), `reconstruction` (K-prune), `bias` (FLAP). Needs --task.",
        ),
    ] = RepairMode.none,
    transfer: TransferOption = False,
    overwrite: OverwriteOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Cut a model for real and write it as a folder that loads with transformers.

    A recipe whose steps train goes on where it was when it is killed and repeated.

    Example: asc compress demo:nli --plan plan.json --task demo:nli --repair sequential -o smaller
    """
    import asc_core

    if (plan is None) == (recipe is None):
        raise UserError("Say either --plan or --recipe.")
    from asc_core.recipes.deliver import deliver

    original = asc_core.load_encoder(encoder, device=device)
    if repair is not RepairMode.none and (plan is None or task is None):
        raise UserError("--repair goes with --plan and --task (a recipe says itself what is repaired).")
    if plan is not None:
        steps = asc_core.Recipe.repaired(asc_core.Plan.load(plan), repair.mode, transfer, seed=seed)
    else:
        assert recipe is not None
        steps = asc_core.Recipe.load(recipe)
        task = task or steps.task
    application = asc_core.load_task(task, split_seed=seed) if task else None
    state = out.parent / f".{out.name}.steps"
    uncut, smaller = steps.made(original, application, _progress(), folder=state)
    report = deliver(smaller, uncut, out, recipe=steps, task=application, overwrite=overwrite, progress=_progress())
    shutil.rmtree(state, ignore_errors=True)
    for step in steps.steps:
        _say(as_json, step.describe())
    _say(as_json, f"{out}: {smaller.parameters:,} parameters ({_percent(smaller.parameters / original.parameters)})")
    _say(as_json, _checked(report))
    return {
        "path": str(out),
        "parameters": smaller.parameters,
        "original_parameters": original.parameters,
        "bytes": report.bytes,
        "max_difference": report.max_difference,
    }


def _checked(report: Any) -> str:
    return (
        f"reloaded in a {report.checked_in} and compared on {report.checked_texts} texts: "
        f"logits differ by at most {report.max_difference:.1e}"
    )


@app.command()
@_verb
def frontier(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    method: Annotated[str, typer.Option("--method", "-m", help="Which scores to use.")] = "obs",
    repair: Annotated[RepairMode, typer.Option(help="As for `asc compress`.")] = RepairMode.sequential,
    keep: Annotated[
        list[float] | None, typer.Option("--keep", min=0, max=1, help="A share to keep; may be repeated.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="Of what: flops (the default), parameters, bytes or latency; NAME=SHARE holds a further one at that "
            "share. May be repeated."
        ),
    ] = None,
    multiple: MultipleOption = 1,
    latency_batch: BatchOption = 32,
    lose: Annotated[
        float | None, typer.Option(min=0, help="Instead: the smallest model that loses at most so many points.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "validation",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write the recipe (of --lose, or a folder of all).")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Compressed models for ten budgets, measured, or the smallest one that loses little.

    Example: asc frontier demo:nli --task demo:nli --study studies/demo --lose 1.0 -o recipe.json
    """
    import asc_core
    from asc_core.plan.encoder_cost import task_cost_model
    from asc_core.recipes.frontier import Workbench, smallest_within
    from asc_core.recipes.frontier import frontier as points_of

    loaded, application = _load(encoder, task, seed, device, split=split)
    kept = asc_core.Study.open(study)
    scores = _stored_scores(kept, loaded, application, method, encoder, task, study)
    along = [text for text in budget or [] if "=" not in text] or ["flops"]
    within = _budgets([text for text in budget or [] if "=" in text])
    if len(along) > 1 or along[0] in within:
        raise UserError(
            f"--budget names {' and '.join([*along, *within])}: name one for the curve to go along, and give each "
            "other one its share, as in --budget flops --budget latency=0.6."
        )
    timed = _timed(task_cost_model(loaded, application), {*along, *within}, loaded, kept, latency_batch)
    bench = Workbench(
        loaded,
        application,
        scores,
        repair.mode,
        along[0],  # type: ignore[arg-type]
        split,
        seed=seed,
        within=within,
        multiple=multiple,
        latency=timed.latency,
        progress=_progress(),
    )
    if lose is not None:
        points = [smallest_within(bench, lose / 100)]
    else:
        points = []
        for point in points_of(bench, sorted(keep or [step / 10 for step in range(1, 10)] + [0.95])):
            points.append(point)
            _say(as_json, _point_line(point, bench))
    for point in points:
        statistics: dict[str, Any] = {"cost": asdict(point.cost), "name": f"{point.keep:.2f} {method}, {repair.value}"}
        kept.save_evaluation(
            loaded.weights,
            point.recipe.key,
            application.name,
            split,
            point.estimate,
            plan=point.recipe.plan,
            **statistics,
        )
        if out is not None:
            file = out if lose is not None else out / f"{point.keep:.2f}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            point.recipe.save(file)
    if lose is not None:
        _say(as_json, _point_line(points[0], bench))
    return {"split": split, "method": method, "repair": repair.value, "points": [_point_json(p, bench) for p in points]}


def _point_line(point: Any, bench: Any) -> str:
    found, low_high = point.estimate, point.estimate.difference_interval or (0.0, 0.0)
    return (
        f"{_percent(point.cost.flops / bench.cost_model.dense.flops)} of the FLOPs, "
        f"{_percent(point.cost.parameters / bench.cost_model.dense.parameters)} of the parameters: "
        f"{found.metric} {_percent(found.value)}, {100 * (found.difference or 0):+.1f} points "
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


@app.command()
@_verb
def evaluate(
    encoder: EncoderArgument,
    task: TaskOption,
    against: Annotated[str | None, typer.Option(help="The original: the difference to it is reported.")] = None,
    split: Annotated[str | None, typer.Option(help="By default validation; test is for the final figure.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many examples, drawn by seed.")] = None,
    within: Annotated[
        float | None, typer.Option(min=0, help="End as soon as the interval goes at most so many points either way.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """A model's metric on a task with its interval, and the paired difference to the original.

    Example: asc evaluate smaller --task demo:nli --against demo:nli --within 3
    """
    import asc_core
    from asc_core.evaluate import evaluating
    from asc_core.plan.encoder_cost import task_cost_model

    loaded, application = _load(encoder, task, seed, device, split=split)
    split = split or "validation"
    original = asc_core.load_encoder(against, device=device) if against else None
    options: dict[str, Any] = {"against": original, "limit": limit, "seed": seed, "progress": _progress()}
    if within is None:
        estimate = asc_core.evaluate(loaded, application, split, **options)
    else:
        *_, estimate = evaluating(loaded, application, split, within=within / 100, **options)
    cost = task_cost_model(loaded, application).dense
    low, high = estimate.interval
    _say(
        as_json,
        f"{estimate.metric} {_percent(estimate.value)} [{_percent(low)}, {_percent(high)}] "
        f"on {estimate.examples} {estimate.split} examples",
    )
    if estimate.difference is not None and estimate.difference_interval is not None:
        low, high = estimate.difference_interval
        _say(
            as_json,
            f"difference to {against}: {100 * estimate.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]",
        )
    if estimate.truncated:
        _say(as_json, f"{estimate.truncated} texts were truncated to {application.max_length} tokens")
    _say(as_json, f"{cost.parameters:,} parameters, {cost.flops / 1e9:.3f} GFLOPs a text, {cost.bytes / 1e6:.1f} MB")
    return estimate.to_json() | {"parameters": cost.parameters, "flops": cost.flops, "bytes": cost.bytes}


@app.command()
@_verb
def export(
    encoder: EncoderArgument,
    out: OutOption,
    format: Annotated[str, typer.Option(help="compact, or dense (loads everywhere, no smaller).")] = "compact",
    plan: Annotated[Path | None, typer.Option("--plan", help="Cut this plan first.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Measure the test metric for the model card.")] = None,
    dtype: Annotated[str, typer.Option(help="Stored type: float32 or float16.")] = "float32",
    transfer: TransferOption = False,
    overwrite: OverwriteOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Write a model that loads with transformers, reload it in a fresh process, and compare.

    Example: asc export demo:nli --plan plan.json --format compact --task demo:nli -o smaller
    """
    import asc_core
    from asc_core.recipes.deliver import deliver

    original = asc_core.load_encoder(encoder, device=device)
    recipe = asc_core.Recipe.of(asc_core.Plan.load(plan), transfer) if plan is not None else None
    smaller = recipe.apply(original) if recipe is not None else original
    report = deliver(
        smaller,
        original,
        out,
        recipe=recipe,
        task=asc_core.load_task(task, split_seed=seed) if task else None,
        format=format,
        dtype=dtype,
        overwrite=overwrite,
        progress=_progress(),
    )
    _say(as_json, f"{out}: {report.bytes / 1e6:.1f} MB")
    _say(as_json, _checked(report))
    return {
        "path": str(out),
        "format": format,
        "bytes": report.bytes,
        "max_difference": report.max_difference,
        "files": list(report.files),
    }


@app.command()
@_verb
def finetune(
    encoder: EncoderArgument,
    task: TaskOption,
    out: OutOption,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training split.")] = 3,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Default: 5e-4 for LoRA, 5e-5 for full.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Train a LoRA adapter of this rank.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1)] = None,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better validation metric.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many training examples.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Fine-tune an encoder on a task, fully or with LoRA; the best checkpoint on validation is kept.

    Killed and repeated, it goes on. Example: asc finetune demo:encoder --task demo:nli --lora-rank 16 -o my-nli
    """
    import asc_core
    from asc_core.train.heads import encoder_for_task

    application = asc_core.load_task(task, split_seed=seed)
    start = encoder_for_task(encoder, application, device=device)
    result = asc_core.finetune(
        start,
        application,
        out,
        epochs=epochs,
        lr=learning_rate,
        batch_size=batch_size,
        lora_rank=lora_rank,
        max_steps=max_steps,
        limit=limit,
        seed=seed,
        progress=_progress(),
        patience=patience,
    )
    for epoch in result.history:
        _say(as_json, f"epoch {epoch.epoch}: loss {epoch.loss or 0:.4f}, validation {_percent(epoch.metric)}")
    _say(
        as_json, f"{out}: {application.metric.name} {_percent(result.best_metric)} on validation, {result.steps} steps"
    )
    return {
        "path": str(out),
        "metric": application.metric.name,
        "value": result.best_metric,
        "split": "validation",
        "steps": result.steps,
        "history": [asdict(epoch) for epoch in result.history],
    }


@app.command()
@_verb
def distil(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="A cut model, as `asc compress` writes it.")],
    teacher: Annotated[str, typer.Option("--teacher", help="The original that it was cut from.")],
    task: TaskOption,
    out: OutOption,
    steps: Annotated[int, typer.Option(min=1, help="Batches in all.")] = 200,
    labels: Annotated[float, typer.Option(min=0, help="What the task's own labels count.")] = 0.5,
    soft: Annotated[float, typer.Option(min=0, help="What the teacher's outputs count.")] = 1.0,
    hidden: Annotated[float, typer.Option(min=0, help="What the layers' hidden states count.")] = 1.0,
    relations: Annotated[float, typer.Option(min=0, help="What the last layer's value relations count.")] = 0.0,
    temperature: Annotated[float, typer.Option(min=0.01, help="Softens the teacher's outputs.")] = 2.0,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Default: 5e-4 for LoRA, 5e-5 for full.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Train LoRA of this rank, merged at the end.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Let a cut model learn from its original, on the task's texts; labels are not needed.

    Killed and repeated, it goes on. Example: asc distil smaller --teacher demo:nli --task demo:nli -o recovered
    """
    import asc_core
    from asc_core.train.distil import Terms
    from asc_core.train.distil import distil as train

    application = asc_core.load_task(task, split_seed=seed)
    result = train(
        asc_core.load_encoder(student, device=device),
        asc_core.load_encoder(teacher, device=device),
        application,
        out,
        steps=steps,
        terms=Terms(labels, soft, hidden, relations, temperature),
        lr=learning_rate,
        batch_size=batch_size,
        lora_rank=lora_rank,
        seed=seed,
        progress=_progress(),
    )
    metric, before = application.metric.name, result.history[0].metric
    _say(as_json, f"{out}: {metric} {_percent(before)} before, {_percent(result.best_metric)} after, on validation")
    return {
        "path": str(out),
        "metric": metric,
        "before": before,
        "value": result.best_metric,
        "split": "validation",
        "steps": result.steps,
        "history": [asdict(epoch) for epoch in result.history],
    }


@app.command()
@_verb
def recipe(
    name: Annotated[str, typer.Argument(help="asc, asc-to-size, asc-plus, sajjad, top-layers, greedy or random.")],
    out: OutOption,
    task: Annotated[str | None, typer.Option("--task", help="Written into the recipe.")] = None,
    keep: Annotated[float, typer.Option(min=0.01, max=1, help="Share to keep, where the recipe goes by size.")] = 0.5,
    budget: Annotated[str, typer.Option(help="Of what: layer-parameters, parameters, flops or bytes.")] = (
        "layer-parameters"
    ),
    threshold: Annotated[float, typer.Option(min=0.01, max=1, help="Similarity, for `asc`.")] = 0.85,
    variant: Annotated[str, typer.Option(help="Of ASC's similarity: a or b.")] = "b",
    steps: Annotated[int, typer.Option(min=0, help="Batches of each training after a cut; 0 = none.")] = 200,
    epochs: Annotated[int, typer.Option(min=1, help="Of a whole fine-tuning.")] = 3,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Of all training.")] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> Any:
    """Write a ready-made recipe: ASC as published, what it is compared with, or ours.

    Example: asc recipe asc-plus --keep 0.5 -o plus.json
    Then: asc compress demo:nli --recipe plus.json --task demo:nli -o smaller
    """
    from asc_core.recipes.ready import READY, Knobs, ready_recipe

    knobs = Knobs(keep, budget, threshold, variant, steps, epochs, learning_rate, seed)  # type: ignore[arg-type]
    made = ready_recipe(name, knobs, task=task)
    made.save(out)
    for step in made.steps:
        _say(as_json, step.describe())
    _say(as_json, f"{out}: for a {READY[name].starts} encoder ({READY[name].source})")
    return {"path": str(out), "starts": READY[name].starts, "steps": [step.describe() for step in made.steps]}


def _applications(given: list[str], seed: int, device: str | None, split: str) -> list[Any]:
    from asc_core.recipes.matrix import Application

    made = []
    for one in given:
        name, _, both = one.rpartition("=") if "=" in one else (one.removeprefix("demo:"), "", one)
        encoder, _, task = both.partition(",")
        made.append(Application(name, *_load(encoder, task or encoder, seed, device, split=split)))
    return made


@app.command()
@_verb
def matrix(
    applications: ApplicationsArgument,
    study: StudyOption,
    keep: Annotated[float, typer.Option(min=0.01, max=1, help="Share to keep.")] = 0.5,
    budget: Annotated[str, typer.Option(help="Of what: layer-parameters, parameters, flops or bytes.")] = (
        "layer-parameters"
    ),
    method: Annotated[str, typer.Option("--method", "-m", help="Which scores; without labels for general text.")] = (
        "obs"
    ),
    repair: Annotated[RepairMode, typer.Option(help="As for `asc compress`.")] = RepairMode.sequential,
    general: Annotated[
        str | None, typer.Option("--general", help="A task whose texts stand for general text (labels are not used).")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Cut this pre-trained encoder instead, and train it for each column.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of that training.")] = 200,
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "validation",
    samples: Annotated[int, typer.Option(min=8, help="Training texts to look at.")] = 1024,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Compressed for one application, measured on every other; and what it costs to know none.

    Killed and repeated, it goes on. Example: asc matrix demo:nli demo:paraphrase demo:intent --study studies/demo
    """
    import asc_core
    from asc_core.recipes.matrix import ApplicationMatrix, Settings
    from asc_core.recipes.matrix_store import cells_in_study, keep_report, report
    from asc_core.train.steps import Finetune

    asked = Settings(keep, budget, method, repair.mode, samples, seed, split)  # type: ignore[arg-type]
    whole = ApplicationMatrix(
        _applications(applications, seed, device, split),
        asked,
        asc_core.load_task(general) if general else None,
        asc_core.load_encoder(base, device=device) if base else None,
        [Finetune(epochs=steps, steps=steps, seed=seed, patience=None)] if base else [],
        progress=_progress(),
    )
    kept = asc_core.Study.open(study)
    cells = []
    for cell in cells_in_study(whole, kept):
        cells.append(cell)
        found = cell.estimate
        _say(
            as_json,
            f"cut for {cell.row}, on {cell.column}: {found.metric} {_percent(found.value)}, "
            f"{100 * (found.difference or 0):+.1f} points",
        )
    result = report(whole, cells)
    keep_report(kept, result)
    for price in result["prices"]:
        low, high = price["interval"]
        _say(
            as_json,
            f"not knowing the application ({price['row']}) costs {100 * price['value']:.1f} points "
            f"[{100 * low:.1f}, {100 * high:.1f}] on average",
        )
    return result


@app.command()
@_verb
def shared(
    applications: ApplicationsArgument,
    keep: Annotated[float, typer.Option(min=0.01, max=1, help="Share to keep.")] = 0.5,
    budget: Annotated[str, typer.Option(help="Of what: layer-parameters, parameters, flops or bytes.")] = (
        "layer-parameters"
    ),
    how: Annotated[
        str, typer.Option(help="A part is kept for whom it matters to `most`, or by the `weighted` sum of all.")
    ] = "weighted",
    points: Annotated[int, typer.Option(min=2, help="Of the trade-off from one application to the others.")] = 5,
    method: Annotated[str, typer.Option("--method", "-m", help="Which scores.")] = "obs",
    repair: Annotated[RepairMode, typer.Option(help="As for `asc compress`.")] = RepairMode.sequential,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the plans, named by their weights.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "validation",
    samples: Annotated[int, typer.Option(min=8, help="Training texts to look at.")] = 1024,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """One plan for several applications: what each loses as the weight moves from one to the others.

    Example: asc shared demo:nli demo:intent --keep 0.5 --how most -o plans
    """
    from asc_core.recipes.matrix import ApplicationMatrix, Settings
    from asc_core.recipes.shared import trade_off

    asked = Settings(keep, budget, method, repair.mode, samples, seed, split)  # type: ignore[arg-type]
    made = _applications(applications, seed, device, split)
    whole = ApplicationMatrix(made, asked, progress=_progress())
    found = []
    for point in trade_off(whole, points, how):  # type: ignore[arg-type]
        weights = {application.name: weight for application, weight in zip(made, point.weights, strict=True)}
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            point.plan.save(out / f"{'-'.join(f'{weight:.2f}' for weight in point.weights)}.json")
        losses = [
            f"{name} (weight {weights[name]:.2f}) {_percent(e.value)}, {100 * (e.difference or 0):+.1f} points"
            for name, e in zip(weights, point.estimates, strict=True)
        ]
        _say(as_json, "; ".join(losses))
        estimates = {name: e.to_json() for name, e in zip(weights, point.estimates, strict=True)}
        found.append({"weights": weights, "plan": point.plan.key, "estimates": estimates})
    return {"settings": asdict(asked), "how": how, "points": found}


@app.command()
@_verb
def convert(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint folder with pickled weights (.bin).")],
    as_json: JsonOption = False,
) -> Any:
    """Make safetensors of pickled weights, read weights-only in a separate process.

    Example: asc convert old-checkpoint
    """
    from asc_core.export.convert import convert as to_safetensors

    written = to_safetensors(folder)
    _say(as_json, f"{written} written; `asc evaluate {folder} ...` takes the folder now.")
    return {"path": str(written)}


@app.command()
@_verb
def dashboard(
    study: StudyOption = Path("studies/demo"),
    port: Annotated[int, typer.Option(help="http://localhost:PORT")] = 8501,
) -> None:
    """Open the dashboard on http://localhost:8501.

    Example: asc dashboard --study studies/mine
    """
    from importlib.util import find_spec

    package = find_spec("dashboard")  # found, not imported: the engine does not depend on its interface
    page = Path(package.origin).parent / "app.py" if package is not None and package.origin else None
    if page is None or not page.exists():
        raise UserError("The dashboard is not installed beside asc_core: install the whole project (make setup).")
    command = [sys.executable, "-m", "streamlit", "run", str(page), "--server.port", str(port)]
    environment = os.environ | {"ASC_STUDY": str(study.resolve())}
    # Streamlit reads its theme from .streamlit in the folder that it is started in.
    raise typer.Exit(subprocess.call(command, env=environment, cwd=page.parent.parent))


def main() -> None:
    app()
