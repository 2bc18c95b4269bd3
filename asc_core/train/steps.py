"""Training as steps of a recipe: fine-tuning, and distillation from the model as it was before the first cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.loading import load_encoder
from asc_core.tasks.heads import can_answer
from asc_core.train.distil import Terms, distil
from asc_core.train.finetune import finetune
from asc_core.train.heads import with_head_for
from asc_core.train.options import TrainingOptions
from asc_core.train.run import LOG, Trained, account_in


class Training(TrainingOptions, Step):
    """What all training has in common."""

    trains: ClassVar[bool] = True

    @property
    def needs_task(self) -> bool:
        return True

    @property
    def _with(self) -> str:
        return f"LoRA of rank {self.lora_rank}" if self.lora_rank else "all weights"


class Finetune(Training):
    """Fine-tune on the task's labels, with a new head where the encoder has none that fits."""

    kind: ClassVar[str] = "finetune"
    epochs: int = Field(default=3, ge=1, description="Passes over the training examples.")
    steps: int | None = Field(default=None, ge=1, description="At most so many batches. None = all of the epochs.")

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        task = context.task

        def train(out: Path | None) -> Trained:
            return finetune(
                encoder if can_answer(encoder, task) else with_head_for(encoder, task, self.seed),
                task,
                out,
                epochs=self.epochs,
                max_steps=self.steps,
                **self.training,
                progress=context.progress,
                merged=True,
                save_tokenizer=True,
            )

        return once(train, context, encoder, f"fine-tuned ({self._with}, {{account}})")

    def describe(self) -> str:
        most = "at most " if self.patience is not None else ""
        length = (
            f"{most}{self.epochs} epochs"
            if self.steps is None
            else f"at most {self.epochs} epochs or {self.steps} steps"
        )
        return f"fine-tuned ({self._with}, {length})"


class Distil(Training):
    """Learn from the model as it was before the recipe's first cut.

    Fields: see `Terms` and `distil`.
    """

    kind: ClassVar[str] = "distil"
    steps: int = Field(default=200, ge=1, description="Batches.")
    labels: float = Field(default=Terms.labels, ge=0, title="Weight of labels", description="Weight of this loss.")
    soft: float = Field(default=Terms.soft, ge=0, title="Weight of soft targets", description="Weight of this loss.")
    hidden: float = Field(
        default=Terms.hidden, ge=0, title="Weight of hidden states", description="Weight of this loss."
    )
    relations: float = Field(
        default=Terms.relations, ge=0, title="Weight of relations", description="Relations between tokens."
    )
    temperature: float = Field(default=Terms.temperature, gt=0, description="Softens the teacher's outputs.")

    def learn(
        self, student: Encoder, teacher: Encoder, context: StepContext, out: Path | None, texts: str | None = None
    ) -> Trained:
        """As the fields say; see `distil`."""
        return distil(
            student,
            teacher,
            context.task,
            out,
            steps=self.steps,
            terms=Terms(self.labels, self.soft, self.hidden, self.relations, self.temperature),
            texts=texts,
            **self.training,
            progress=context.progress,
        )

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        teacher = context.teacher or encoder

        def train(out: Path | None) -> Trained:
            return self.learn(encoder, teacher, context, out)

        return once(train, context, encoder, f"distilled from the original ({self._with}, {{account}})")

    def describe(self) -> str:
        most = "at most " if self.patience is not None else ""
        return f"distilled from the original ({self._with}, {most}{self.steps} steps)"


def once(train: Callable[[Path | None], Trained], context: StepContext, before: Encoder, did: str) -> Encoder:
    """The trained encoder; read where an earlier run of the same recipe has left it. did: with the account of it."""
    folder = context.folder
    account: str | None
    if folder is None or not (folder / LOG).exists():
        trained = train(folder)
        found, account = trained.encoder, trained.account
    else:
        found, account = load_encoder(folder, device=str(before.device)), account_in(folder)
    if account is not None:
        context.done = did.format(account=account)
    return before.with_model(found.model, packing="float32")  # trained weights fit no packing
