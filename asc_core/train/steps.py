"""Training as steps of a recipe: fine-tuning, and distillation from the model as it was before the first cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.loading import load_encoder
from asc_core.train.distil import Terms, distil
from asc_core.train.finetune import finetune
from asc_core.train.heads import with_head_for
from asc_core.train.run import LOG, Trained


class Training(Step):
    """What all training has in common; the fields mean what they mean in `finetune`."""

    trains: ClassVar[bool] = True
    lr: float | None = Field(default=None, gt=0, lt=1)
    batch_size: int = Field(default=32, ge=1)
    lora_rank: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=2, ge=1)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    @property
    def needs_task(self) -> bool:
        return True

    @property
    def _with(self) -> str:
        return f"LoRA of rank {self.lora_rank}" if self.lora_rank else "all weights"


class Finetune(Training):
    """Fine-tune on the task's labels, with a new head where the encoder has none that fits.

    steps: at most so many batches, None = all of the epochs.
    """

    kind: ClassVar[str] = "finetune"
    epochs: int = Field(default=3, ge=1)
    steps: int | None = Field(default=None, ge=1)

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        task = context.task

        def train(out: Path | None) -> Trained:
            return finetune(
                with_head_for(encoder, task, self.seed),
                task,
                out,
                epochs=self.epochs,
                max_steps=self.steps,
                lr=self.lr,
                batch_size=self.batch_size,
                lora_rank=self.lora_rank,
                seed=self.seed,
                patience=self.patience,
                warmup=self.warmup,
                limit=self.limit,
                progress=context.progress,
                merged=True,
                save_tokenizer=True,
            )

        return _once(train, context.folder, encoder)

    def describe(self) -> str:
        length = (
            f"{self.epochs} epochs" if self.steps is None else f"at most {self.epochs} epochs or {self.steps} steps"
        )
        return f"fine-tuned ({self._with}, {length})"


class Distil(Training):
    """Learn from the model as it was before the recipe's first cut; for the other fields see `Terms` and `distil`."""

    kind: ClassVar[str] = "distil"
    steps: int = Field(default=200, ge=1)
    labels: float = Field(default=Terms.labels, ge=0)
    soft: float = Field(default=Terms.soft, ge=0)
    hidden: float = Field(default=Terms.hidden, ge=0)
    relations: float = Field(default=Terms.relations, ge=0)
    temperature: float = Field(default=Terms.temperature, gt=0)

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        task = context.task
        teacher = context.teacher or encoder
        terms = Terms(self.labels, self.soft, self.hidden, self.relations, self.temperature)

        def train(out: Path | None) -> Trained:
            return distil(
                encoder,
                teacher,
                task,
                out,
                steps=self.steps,
                terms=terms,
                lr=self.lr,
                batch_size=self.batch_size,
                lora_rank=self.lora_rank,
                seed=self.seed,
                patience=self.patience,
                warmup=self.warmup,
                limit=self.limit,
                progress=context.progress,
            )

        return _once(train, context.folder, encoder)

    def describe(self) -> str:
        return f"distilled from the original ({self._with}, {self.steps} steps)"


def _once(train: Callable[[Path | None], Trained], folder: Path | None, before: Encoder) -> Encoder:
    """The trained encoder; read where an earlier run of the same recipe has left it."""
    if folder is None or not (folder / LOG).exists():
        found = train(folder).encoder
    else:
        found = load_encoder(folder, device=str(before.device))
    return Encoder(found.model, before.tokenizer, before.source, before.name)
