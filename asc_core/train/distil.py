"""Distillation: a cut encoder learns to do what the original does, on the application's texts.

Four terms, each weighted: the task's own loss; soft targets, T^2 KL(teacher || student) of the outputs at temperature T
(Hinton et al. 2015, arXiv 1503.02531, section 2); the hidden states of the layers that stayed, squared error over the
teacher's square (as TinyBERT's, Jiao et al. 2020, arXiv 1909.10351, section 3.1, without its projection: widths of the
residual stream are equal here); and the last layer's value relations, KL of softmax(V V^T / sqrt(d)) (MiniLM, Wang et
al. 2020, arXiv 2002.10957, section 3.2). Labels are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from asc_core import modeling
from asc_core.ancestry import Stage
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.predictions import predict
from asc_core.probes import Probe, probing
from asc_core.progress import Progress
from asc_core.tasks.base import Batch, Features, Task
from asc_core.tasks.soft_targets import NEVER, relative_error, soft_targets
from asc_core.train.options import TrainingOptions
from asc_core.train.run import Objective, Run, Settings, Trained
from asc_core.train.teacher_answers import TeacherAnswers


@dataclass(frozen=True)
class Terms:
    """What each term counts. temperature: of the soft targets."""

    labels: float = 0.5
    soft: float = 1.0
    hidden: float = 1.0
    relations: float = 0.0
    temperature: float = 2.0

    def check(self) -> None:
        """Raises: UserError where a number makes no sense."""
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name} = {value}: give a number of 0 or more.")
        if not self.temperature:
            raise UserError("temperature = 0: give a temperature above 0, such as 2.")


def distil(
    student: Encoder,
    teacher: Encoder,
    task: Task,
    out: str | Path | None = None,
    *,
    steps: int = 200,
    terms: Terms = Terms(),
    progress: Progress | None = None,
    resume: bool = True,
    keep: Callable[[Encoder], None] | None = None,
    texts: str | Path | None = None,
    **training: Any,
) -> Trained:
    """Train a copy of `student` towards `teacher` on the task's train split; the best state on validation is kept.

    student: `teacher` after a cut, or any encoder of the same architecture, head and hidden size. Its state before the
    first step counts as a candidate, so that validation never gets worse. steps: batches in all. texts: a file of
    further texts without labels, see `augmented`. Other arguments as for `finetune`; an adapter is merged into the
    weights at the end.
    Raises: UserError where the two do not fit each other or the task, `out` is in use, the disk is full or the loss is
    no longer a number; Cancelled within one batch.
    """
    terms.check()
    settings = Settings(TrainingOptions.of(training).of_encoder(student), steps, steps, from_start=True)
    objective = teaching(teacher, student, task, terms, texts)
    run = Run(student, task, objective, settings, None if out is None else Path(out), progress or Progress(), keep)
    run.train(resume)
    how = f"LoRA of rank {settings.options.lora_rank}" if settings.options.lora_rank else "all weights"
    command = command_for(student, teacher, task, settings, terms, None if out is None else Path(out).name)

    def stage(account: str) -> Stage:
        return Stage((f"distilled from `{teacher.name}` on `{task.name}` ({how}, {account})",), command)

    return run.finish(student.source, True, stage, merged=True)


def command_for(
    student: Encoder, teacher: Encoder, task: Task, settings: Settings, terms: Terms, out: str | None
) -> str:
    """The line that trains so again; without a folder that it was written to there is none."""
    if out is None:
        return ""
    options = settings.options
    given = {
        "--steps": settings.max_steps,
        **{f"--{name}": value for name, value in asdict(terms).items()},
        "--lr": options.lr,
        "--batch-size": options.batch_size,
        "--lora-rank": options.lora_rank,
        "--seed": options.seed,
    }
    said = "".join(f" {name} {value}" for name, value in given.items() if value is not None)
    return f"asc distil {student.public_name} --teacher {teacher.public_name} --task {task.source}{said} -o {out}"


def teaching(teacher: Encoder, student: Encoder, task: Task, terms: Terms, texts: str | Path | None) -> Teaching:
    from asc_core.train.augmented import AugmentedTeaching  # which is a kind of what stands here

    return AugmentedTeaching(teacher, student, task, terms, texts) if texts else Teaching(teacher, student, task, terms)


class Teaching(Objective):
    """What a teacher shows on a batch, and how far the student is from it."""

    def __init__(self, teacher: Encoder, student: Encoder, task: Task, terms: Terms):
        if (teacher.architecture, teacher.head) != (student.architecture, student.head):
            raise UserError(
                f"{student.name} ({student.architecture}, {student.head}) cannot learn from {teacher.name} "
                f"({teacher.architecture}, {teacher.head}): a teacher has the student's architecture and head."
            )
        if teacher.shape.hidden != student.shape.hidden or teacher.labels != student.labels:
            raise UserError(f"{student.name} and its teacher {teacher.name} differ in hidden size or labels.")
        self.terms, self.task = terms, task
        self.teacher_ids = ids_in(teacher, student)
        self.teacher = teacher
        self.layers = matching_layers(student, teacher)
        heads = [encoder.shape.heads[encoder.shape.rows[-1]] for encoder in (teacher, student)]
        self.groups = math.gcd(*heads)
        self.related = bool(terms.relations) and min(heads) > 0  # what has no heads has no values to relate
        if not ((terms.labels and task.labelled) or terms.soft or terms.hidden or self.related):
            raise UserError(
                "There is nothing to learn from: give soft, hidden or relations a weight, or labels where the task has "
                "some (relations need heads in the last layer of both)."
            )
        self._answers: TeacherAnswers | None = None
        if self.related:
            self.teacher = teacher.copy()  # a hook on it must not see what other threads ask of the teacher

    def identity(self) -> Any:
        return ["distil", self.teacher.weights, asdict(self.terms)]

    def reference(self, features: Features) -> Sequence[Any]:
        if self.teacher_ids is not None:
            ids = self.teacher_ids.numpy()
            features = replace(features, input_ids=[ids[tokens] for tokens in features.input_ids])
        return predict(self.teacher, self.task, features, Progress())

    def begin(self, features: Features, encoder: Encoder, examples: int) -> None:
        """Where outputs alone are learnt, and from each text more than once, the teacher is asked once."""
        outputs_alone = not (self.terms.hidden or self.related)
        if outputs_alone and self.terms.soft and examples > len(features):
            answers = TeacherAnswers(self.teacher, self.task, features, encoder, self._for_teacher)
            self._answers = answers if answers.is_small else None

    def loss(self, encoder: Encoder, task: Task, batch: Batch, rows: np.ndarray | None = None) -> torch.Tensor:
        terms, mask = self.terms, batch.mask.bool()
        wanted = ForwardPass(self.teacher, self.related)
        seen = ForwardPass(encoder, self.related)
        if self._answers is not None and rows is not None:
            wanted.output = self._answers.of(rows, mask.shape[1])
        else:
            with torch.no_grad():
                wanted.look(self._for_teacher(batch))
        seen.look(batch)
        total = torch.zeros((), device=mask.device)
        if terms.labels and task.labelled:
            total = total + terms.labels * task.loss(seen.output, batch).mean()
        if terms.soft:
            binary = task.kind == "multi-label"
            total = total + terms.soft * soft_targets(seen.output, wanted.output, mask, terms.temperature, binary)
        if terms.hidden:
            pairs = zip(seen.states, (wanted.states[layer] for layer in self.layers), strict=True)
            total = total + terms.hidden * torch.stack([relative_error(a, b, mask) for a, b in pairs]).mean()
        if self.related:
            total = total + terms.relations * relation_loss(seen.values, wanted.values, self.groups, mask)
        return total

    def _for_teacher(self, batch: Batch) -> Batch:
        if self.teacher_ids is None:
            return batch
        ids = batch.inputs["input_ids"]
        return replace(batch, inputs={**batch.inputs, "input_ids": self.teacher_ids.to(ids.device)[ids]})


def ids_in(teacher: Encoder, student: Encoder) -> torch.Tensor | None:
    """(student's tokens,), what the teacher calls them: the two read the same pieces, whatever the teacher would have
    split a text into. None where they share a tokenizer.

    Raises: UserError where the teacher lacks one.
    """
    if student.tokenizer is teacher.tokenizer:
        return None
    theirs, mine = teacher.tokenizer.get_vocab(), student.tokenizer.get_vocab()
    lacking = mine.keys() - theirs.keys()
    if lacking:
        raise UserError(f"{teacher.name} cannot teach {student.name}: it has no token {min(lacking)!r}.")
    ids = torch.zeros(max(mine.values(), default=0) + 1, dtype=torch.long)
    for token, number in mine.items():
        ids[number] = theirs[token]
    same = torch.equal(ids, torch.arange(len(ids)))
    return None if same else ids


class ForwardPass(Probe):
    """One forward pass. output: the model's. states: (B, T, d) after each layer. values: (B, T, heads * d_h) of the
    last layer, where they were asked for."""

    values: torch.Tensor

    def __init__(self, encoder: Encoder, related: bool):
        self.encoder, self.related = encoder, related
        self.states: list[torch.Tensor] = []

    def look(self, batch: Batch) -> None:
        handle = self._values()[0].register_forward_hook(self._keep) if self.related else None
        try:
            with probing(self):
                self.output = self.encoder.model(**batch.inputs)
        finally:
            if handle is not None:
                handle.remove()

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.states.append(after)

    def _values(self) -> tuple[nn.Module, slice]:
        encoder, last = self.encoder, self.encoder.shape.rows[-1]
        return modeling.value_rows(encoder.model, modeling.rows_of(encoder.model)[last], encoder.shape.heads[last])

    def _keep(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        self.values = output[..., self._values()[1]]


def relation_loss(mine: torch.Tensor, theirs: torch.Tensor, groups: int, mask: torch.Tensor) -> torch.Tensor:
    """() KL(teacher || student) of how values relate to each other, mean over real tokens and groups of heads.

    mine, theirs: (B, T, width), of any two widths that `groups` divides (MiniLMv2, arXiv 2012.15828, section 3.2).
    """
    logs = []
    for values in (mine, theirs):
        split = values.unflatten(-1, (groups, -1)).transpose(1, 2)  # (B, groups, T, width / groups)
        products = split @ split.mT / math.sqrt(split.shape[-1])
        logs.append(torch.log_softmax(products.masked_fill(~mask[:, None, None, :], NEVER), -1))
    each = functional.kl_div(logs[0], logs[1], log_target=True, reduction="none").sum(-1)  # (B, groups, T)
    return each[mask[:, None, :].expand_as(each)].mean()


def matching_layers(student: Encoder, teacher: Encoder) -> tuple[int, ...]:
    """For each layer of the student the teacher's (0-based) whose output it should give.

    By the record of the cut where both come of models of one depth; else evenly spread, the last one to the last.
    """
    (mine, uncut), (theirs, of_teacher) = _recorded(student), _recorded(teacher)
    if uncut == of_teacher and set(mine) <= set(theirs):
        return tuple(theirs.index(layer) for layer in mine)
    layers, of = student.shape.layers, teacher.shape.layers
    return tuple(max(0, math.ceil((layer + 1) * of / layers) - 1) for layer in range(layers))


def _recorded(encoder: Encoder) -> tuple[list[int], int]:
    """(its layers in numbers of the uncut model, how many that has)"""
    record = getattr(encoder.model.config, "asc", None)
    depth = record["dense"].get("num_hidden_layers") if record else None
    return list(modeling.origin(encoder.model.config).layers), depth or encoder.shape.layers
