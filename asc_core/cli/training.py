"""Training before, after and around a cut."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    JsonOption,
    OutOption,
    SeedOption,
    TaskOption,
    as_choice,
    percent,
    progress_line,
    say,
    verb,
)
from asc_core.errors import UserError

if TYPE_CHECKING:
    from asc_core.train.fresh import BiLstm


@verb
def finetune(
    task: TaskOption,
    out: OutOption,
    encoder: Annotated[
        str | None,
        typer.Argument(metavar="[ENCODER]", help="A checkpoint or adapter folder, a hub id, or demo:NAME."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Instead of an encoder: `bilstm`, a fresh one over the words of the task."),
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Of a fresh model's word embedding: that of the vectors, or 300.")
    ] = None,
    hidden: Annotated[int | None, typer.Option(min=1, help="States of each of its two directions: 256.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Its layers: 2.")] = None,
    words: Annotated[
        int | None, typer.Option(min=4, help="Rows of its word embedding at most: 200,000, with the file's words.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option("--vectors", help="Word vectors that it begins with: GloVe's text, or .vec; .gz, too."),
    ] = None,
    word_list: Annotated[
        Path | None, typer.Option("--word-list", help="Instead: words alone, one a line; their rows begin at random.")
    ] = None,
    cased: Annotated[bool, typer.Option("--cased", help="Its words in upper and lower case, as they stand.")] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training split: 3, of a fresh model 20.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", help="Default: 5e-4 for LoRA, 1e-3 of a BiLSTM, else 5e-5.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Train a LoRA adapter of this rank.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="With --lora-rank: write a whole checkpoint.")] = False,
    max_steps: Annotated[int | None, typer.Option(min=1)] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a better validation metric: 2, of a fresh model 5.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many training examples.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Fine-tune an encoder on a task, fully or with LoRA; the best checkpoint on validation is kept.

    With --model, train a small one from its beginning. Killed and repeated, it resumes.

    Example: asc finetune demo:encoder --task demo:nli --lora-rank 16 -o my-nli
    Example: asc finetune --model bilstm --task snips --vectors glove.6B.300d.txt -o my-bilstm
    """
    import asc_core
    from asc_core.train.adapters import BASE
    from asc_core.train.fresh import EPOCHS, PATIENCE, fresh_bilstm
    from asc_core.train.heads import encoder_for_task

    asked = {"width": width, "hidden": hidden, "layers": layers, "words": words, "vectors": vectors}
    sizes = _fresh(encoder, model, asked | {"word_list": word_list, "lower": None if not cased else False}, base)
    application = asc_core.load_task(task, split_seed=seed)
    if sizes is not None:
        start = fresh_bilstm(application, sizes, seed, device)
    else:
        start = encoder_for_task(str(encoder), application, device=device, base=base)
    result = asc_core.finetune(
        start,
        application,
        out,
        epochs=epochs or (3 if sizes is None else EPOCHS),
        merged=merge,
        fresh=sizes.command if sizes is not None else "",
        lr=learning_rate,
        batch_size=batch_size,
        lora_rank=lora_rank,
        max_steps=max_steps,
        limit=limit,
        seed=seed,
        progress=progress_line(),
        patience=patience or (2 if sizes is None else PATIENCE),
    )
    for epoch in result.history:
        say(as_json, f"epoch {epoch.epoch}: loss {epoch.loss or 0:.4f}, validation {percent(epoch.metric)}")
    say(as_json, f"{out}: {application.metric.name} {percent(result.best_metric)} on validation, {result.account}")
    if (out / BASE).is_dir():
        say(as_json, f"{out / BASE}: the base, since peft cannot load {encoder} itself; --merge writes one checkpoint")
    return {
        "path": str(out),
        "metric": application.metric.name,
        "value": result.best_metric,
        "split": "validation",
        "steps": result.steps,
        "history": [asdict(epoch) for epoch in result.history],
    }


def _fresh(encoder: str | None, model: str | None, asked: dict[str, Any], base: str | None) -> BiLstm | None:
    """What a fresh model is to be; None where an encoder is named. Raises: UserError where both are, or neither."""
    from asc_core.train.fresh import BiLstm

    said = {name: value for name, value in asked.items() if value is not None}
    if model is None:
        if encoder is None:
            raise UserError("Name the encoder to fine-tune, or --model bilstm for a fresh one.")
        if said:
            option = "--cased" if "lower" in said else f"--{next(iter(said)).replace('_', '-')}"
            raise UserError(f"{option} is for a fresh model (--model bilstm): {encoder} has its own.")
        return None
    if encoder is not None or base is not None:
        raise UserError(f"--model {model} makes a fresh model: leave {encoder or '--base'} out.")
    if model != "bilstm":
        raise UserError(f"--model is bilstm, not {model!r}; other models begin from a checkpoint, which you name.")
    return BiLstm(**said)


@verb
def distil(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="A cut model, as `asc compress` writes it.")],
    teacher: Annotated[str, typer.Option("--teacher", help="The original that it was cut from.")],
    task: TaskOption,
    out: OutOption,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 200,
    labels: Annotated[float, typer.Option(min=0, help="Weight of the loss on the task's labels.")] = 0.5,
    soft: Annotated[float, typer.Option(min=0, help="Weight of the soft-target loss.")] = 1.0,
    hidden: Annotated[float, typer.Option(min=0, help="Weight of the loss on hidden states.")] = 1.0,
    relations: Annotated[float, typer.Option(min=0, help="Weight of the loss on value relations (last layer).")] = 0.0,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of the soft targets.")] = 2.0,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Default: 5e-4 for LoRA, 5e-5 for full.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Train LoRA of this rank, merged at the end.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Let a cut model learn from its original, on the task's texts; labels are not needed.

    Killed and repeated, it resumes. Example: asc distil smaller --teacher demo:nli --task demo:nli -o recovered
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
        progress=progress_line(),
    )
    metric, before = application.metric.name, result.history[0].metric
    say(as_json, f"{out}: {metric} {percent(before)} before, {percent(result.best_metric)} after, on validation")
    return {
        "path": str(out),
        "metric": metric,
        "before": before,
        "value": result.best_metric,
        "split": "validation",
        "steps": result.steps,
        "history": [asdict(epoch) for epoch in result.history],
    }


@verb
def recipe(
    name: Annotated[str, typer.Argument(help="asc, asc-to-size, asc-plus, sajjad, top-layers, greedy or random.")],
    out: OutOption,
    task: Annotated[str | None, typer.Option("--task", help="Written into the recipe.")] = None,
    keep: Annotated[float, typer.Option(min=0.01, max=1, help="Share to keep, for recipes with a target size.")] = 0.5,
    budget: Annotated[str, typer.Option(help="Of what: layer-parameters, parameters, flops or bytes.")] = (
        "layer-parameters"
    ),
    threshold: Annotated[
        float, typer.Option(min=0.01, max=1, help="Similarity of redundant layers, for `asc`.")
    ] = 0.85,
    variant: Annotated[str, typer.Option(help="Of ASC's similarity: a or b.")] = "b",
    steps: Annotated[int, typer.Option(min=0, help="Training steps after each cut; 0 = none.")] = 200,
    epochs: Annotated[int, typer.Option(min=1, help="Of a full fine-tuning.")] = 3,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Of all training.")] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> Any:
    """Write a ready-made recipe: ASC as published, what it is compared with, or ours.

    Example: asc recipe asc-plus --keep 0.5 -o plus.json
    Then: asc compress demo:nli --recipe plus.json --task demo:nli -o smaller
    """
    from asc_core.compress.choose import Share
    from asc_core.recipes.presets import PRESETS, PresetOptions, preset_recipe

    share = as_choice("--budget", budget, Share)
    options = PresetOptions(keep, share, threshold, variant, steps, epochs, learning_rate, seed)
    made = preset_recipe(name, options, task=task)
    made.save(out)
    for step in made.steps:
        say(as_json, step.describe())
    say(as_json, f"{out}: for a {PRESETS[name].base_checkpoint} encoder ({PRESETS[name].source})")
    return {
        "path": str(out),
        "starts": PRESETS[name].base_checkpoint,
        "steps": [step.describe() for step in made.steps],
    }
