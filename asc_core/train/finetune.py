"""Fine-tune an encoder for a task: all weights, or a LoRA adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asc_core.ancestry import Stage
from asc_core.encoder import Encoder, is_hub_id
from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.tasks.base import Task
from asc_core.tasks.heads import can_answer
from asc_core.train.options import TrainingOptions
from asc_core.train.run import Gold, Run, Settings, Trained


def finetune(
    encoder: Encoder,
    task: Task,
    out: str | Path | None = None,
    *,
    epochs: int = 3,
    max_steps: int | None = None,
    progress: Progress | None = None,
    resume: bool = True,
    base_name: str | None = None,
    save_tokenizer: bool = True,
    merged: bool = False,
    keep: Callable[[Encoder], None] | None = None,
    fresh: str = "",
    **training: Any,
) -> Trained:
    """Fine-tune a copy of `encoder` on the task's train split; the best epoch on its validation split is kept.

    out: folder for the result, made in one step at the end: a checkpoint, or with `lora_rank` an adapter that
    `load_adapter(out, base=...)` rebuilds. Until then it holds `.resume`, from which a killed run goes on.
    training: lr, batch_size, lora_rank, patience, warmup, limit and seed, see `TrainingOptions`. max_steps: batches in
    all. base_name: what an adapter names as its base, by default the encoder's source where peft can load it, else a
    copy of it that is written beside the adapter. save_tokenizer: whether the
    tokenizer lies beside it. merged: with `lora_rank`, write the adapter into the weights and keep a full checkpoint.
    keep: see `Run`. fresh: of an encoder that was made for this, the options that make it (see `BiLstm.command`).
    Raises: UserError where the task has no labels, the encoder's head does not fit, `out` is in use, the disk is
    full or the loss is no longer a number; Cancelled within one batch.
    """
    settings = Settings(TrainingOptions.of(training).of_encoder(encoder), epochs, max_steps)
    if not task.labelled:
        raise UserError(f"The task {task.name} has no labels to learn from: give the task file a label column.")
    if not can_answer(encoder, task):
        raise UserError(
            f"The head of {encoder.name} is for {encoder.head} with the labels {list(encoder.labels)[:20]}; the task "
            f"{task.name} ({task.kind}) has {list(task.labels)[:20]}: start from its base encoder with a new head."
        )
    run = Run(encoder, task, Gold(), settings, None if out is None else Path(out), progress or Progress(), keep)
    run.train(resume)
    begun = "trained from its beginning" if fresh else "fine-tuned"
    how = f"LoRA of rank {settings.options.lora_rank}" if settings.options.lora_rank else "all weights"
    command = command_for(encoder, task, settings, merged, None if out is None else Path(out).name, fresh)

    def stage(account: str) -> Stage:
        return Stage((f"{begun} on `{task.name}` ({how}, {account})",), command)

    return run.finish(base_name or base_for_peft(encoder), save_tokenizer, stage, merged)


def command_for(
    encoder: Encoder, task: Task, settings: Settings, merged: bool, out: str | None, fresh: str = ""
) -> str:
    """The line that trains so again; without a folder that it was written to there is none. fresh: see `finetune`."""
    if out is None:
        return ""
    options = settings.options
    given = {
        "--epochs": settings.epochs,
        "--max-steps": settings.max_steps,
        "--lr": options.lr,
        "--batch-size": options.batch_size,
        "--lora-rank": options.lora_rank,
        "--patience": options.patience,
        "--limit": options.limit,
        "--seed": options.seed,
    }
    said = "".join(f" {name} {value}" for name, value in given.items() if value is not None)
    start = fresh or encoder.public_name
    return f"asc finetune {start} --task {task.source}{said}{' --merge' if merged else ''} -o {out}"


def base_for_peft(encoder: Encoder) -> str | None:
    """Where peft finds the encoder that an adapter is trained on, from every folder: a hub id or a plain checkpoint.

    None where it finds none: the weights lie nowhere, or where only we know how to read them (a scheme, an adapter).
    """
    folder = Path(encoder.source)
    if encoder.head == "intent-slots":  # peft has no class for it, so only we read it
        return str(folder.resolve()) if folder.is_dir() else encoder.source
    if not encoder.stored:
        return None
    if folder.is_dir():
        return None if (folder / "adapter_config.json").exists() else str(folder.resolve())
    return encoder.source if is_hub_id(encoder.source) else None
