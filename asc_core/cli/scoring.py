"""Scores, and how faithful they are."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    EncoderArgument,
    JsonOption,
    SeedOption,
    StudyOption,
    TaskOption,
    load,
    progress_line,
    say,
    verb,
)
from asc_core.errors import UserError


class Targets(StrEnum):
    """Which labels a loss is computed against."""

    gold = "gold"
    sampled = "sampled"
    argmax = "argmax"


@verb
def score(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", "-m", help="May be repeated, `all` = also the slower ones; default: all that share one pass."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Calibration examples.")] = 1024,
    split: Annotated[str, typer.Option(help="Which split to score on.")] = "train",
    targets: Annotated[
        Targets | None, typer.Option(help="Labels for sensitivity methods: gold, or the model's own: sampled, argmax.")
    ] = None,
    stop_when_stable: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Stop once rankings are this stable (0.95); a higher value later continues."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """How much every head, neuron, sublayer and layer contributes to a task. Killed and repeated, it resumes.

    Example: asc score demo:nli --task demo:nli --method fisher --method asc-b --study studies/demo
    """
    import asc_core

    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    found = asc_core.score(
        loaded,
        application,
        method or None,
        study=asc_core.Study.open(study),
        split=split,
        samples=samples,
        targets=targets.value if targets is not None else None,
        stop_when_settled=stop_when_stable,
        seed=seed,
        progress=progress_line(),
    )
    for name, scores in found.items():
        seen = f"{scores.examples} {scores.split} examples, labels: {scores.labels}" if scores.examples else "no data"
        say(as_json, f"{name}: scored on {seen}")
    for note in dict.fromkeys(scores.notes for scores in found.values() if scores.notes):
        say(as_json, note)
    return {
        "study": str(study),
        "task": application.name,
        "scores": [
            {
                "method": s.method,
                "split": s.split,
                "examples": s.examples,
                "labels": s.labels,
                "seed": s.seed,
                "notes": s.notes,
            }
            for s in found.values()
        ],
    }


@verb
def scan(
    encoder: EncoderArgument,
    task: TaskOption,
    activations: Annotated[
        str, typer.Option(help="dynamic: what matrices multiply is rounded, too; none: weights alone.")
    ] = "dynamic",
    most_changed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the answers that may change with what is proposed.")
    ] = 0.01,
    samples: Annotated[int, typer.Option(min=1, help="Examples to measure on.")] = 256,
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "train",
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """What int8 does to the task's answers, matrix by matrix, and which ones had better stay float32.

    Example: asc scan demo:nli --task demo:nli
    """
    from asc_core.compress.matrix_scan import MatrixScanner, least_kept
    from asc_core.modeling.quantize import ACTIVATIONS

    if activations not in ACTIVATIONS:
        raise UserError(f"--activations is one of {', '.join(ACTIVATIONS)}, not {activations!r}.")
    loaded, application = load(encoder, task, seed, device, split=split, base=base)
    scanner = MatrixScanner(loaded, application, activations=activations, samples=samples, seed=seed, split=split)
    found = scanner.scan(progress=progress_line())
    kept = least_kept(found, most_changed)
    for name, effect in sorted(zip(found.names, found.alone, strict=True), key=lambda pair: -pair[1].divergence):
        say(as_json, f"{name:<40} KL {effect.divergence:.1e}, {effect.changed:.1%} of the answers changed")
    say(
        as_json,
        f"all together: KL {found.together.divergence:.1e}, {found.together.changed:.1%} of the answers changed on "
        f"{found.texts} {split} texts",
    )
    say(as_json, f"to stay float32 for at most {most_changed:.1%} (estimated): {', '.join(kept) or 'none'}")
    return found.to_json() | {"split": split, "most_changed": most_changed, "keep": list(kept)}


@verb
def faithfulness(
    encoder: EncoderArgument,
    task: TaskOption,
    study: StudyOption,
    samples: Annotated[int, typer.Option(min=1, help="Examples for the exact ablation, the ground truth.")] = 256,
    held_out: Annotated[int, typer.Option(min=1, help="Examples for the loss under cumulative removal.")] = 256,
    split: Annotated[str, typer.Option(help="Which split to ablate on.")] = "train",
    curve_split: Annotated[str, typer.Option(help="Which split the loss curves are measured on.")] = "validation",
    neuron_groups: Annotated[bool, typer.Option(help="Ablate groups of neurons too (slower).")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """How faithful each stored score is, by exact ablation and by the loss curve of its order.

    Killed and repeated, it resumes. Example: asc faithfulness demo:nli --task demo:nli --study studies/demo
    """
    import asc_core
    from asc_core.scores.faithfulness import faithfulness_in_study

    loaded = asc_core.load_encoder(encoder, device=device, base=base)
    application = asc_core.load_task(task, split_seed=seed, split=split)
    kept = asc_core.Study.open(study)
    if not kept.scores(task=application.name, weights=loaded.weights):
        raise UserError(
            f"{study} has no scores of {encoder} on {application.name}: "
            f"asc score {encoder} --task {task} --study {study}"
        )
    report = faithfulness_in_study(
        loaded,
        application,
        kept,
        samples=samples,
        held_out=held_out,
        split=split,
        curve_split=curve_split,
        neuron_groups=neuron_groups,
        seed=seed,
        progress=progress_line(),
    )
    say(as_json, report.table())
    say(
        as_json,
        f"area: loss under cumulative removal in a method's order (relative AUC), on {report.held_out.examples} "
        f"{report.held_out.split} examples; 1 = a random order. rho, tau, top: agreement with ablation on "
        f"{report.ground_truth.examples} {report.ground_truth.split} examples.",
    )
    for sentence in report.in_words():
        say(as_json, sentence)
    return report.to_json() | {"study": str(study)}
