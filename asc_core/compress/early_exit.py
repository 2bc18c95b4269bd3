"""A step: texts that are easy leave before the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from asc_core import modeling
from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan.encoder_cost import task_cost
from asc_core.probes import Probe, probing
from asc_core.progress import CALIBRATING, Progress
from asc_core.tasks.base import Batch, Features, Task

SAMPLES = 2048
PENALTIES = (1e-3, 1e-2, 1e-1)  # of the weights' squares, in units of standardised states
HELD_OUT = 0.2  # of the training texts, by which the penalty is chosen
THRESHOLDS = 64  # that are tried


class EarlyExit(Step):
    """Heads behind lower layers, with which a text leaves as soon as one of them is sure of its class (DeeBERT).

    The layers stay as they are. Each head is a linear function of the first token's state, fitted to the whole model's
    probabilities on training texts (logistic regression, to its optimum), so no labels are needed.
    most_lost: how much of the task's metric may be lost on validation texts, with labels; of a task without, the share
    of the answers that may change. The threshold is the smallest that keeps to it. sure: that threshold itself instead,
    a probability; 1 = no text ever leaves. layers: behind which heads stand, counted from 1; by default all but the
    last.
    """

    kind: ClassVar[str] = "early-exit"
    structure: ClassVar[str | None] = "exits"
    most_lost: float = Field(
        default=0.01, ge=0, le=1, title="Metric lost", description="How much of the metric may be lost on validation"
    )
    sure: float | None = Field(default=None, gt=0, le=1, description="Probability above which a text leaves")
    layers: tuple[int, ...] = ()
    samples: int = Field(default=SAMPLES, ge=16)
    seed: int = Field(default=0, ge=0)

    @property
    def needs_task(self) -> bool:
        return True

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        exits = self._exits(encoder)
        task, progress = context.task, context.progress
        split = task.training_split
        seen = _seen(encoder, task, split, exits, self.samples, self.seed, progress)
        wanted = seen.last.softmax(-1)
        heads = [fitted_head(states, wanted, self.seed) for states in seen.states]
        judged_on = "validation" if "validation" in task.splits else split
        judged = _seen(encoder, task, judged_on, exits, self.samples, self.seed, progress)
        logits = [functional.linear(states, *head) for states, head in zip(judged.states, heads, strict=True)]
        sure = self.sure if self.sure is not None else self._threshold(task, encoder, judged, logits)
        leaves = left_at(logits, sure)
        shares = [float((leaves == number).float().mean()) for number in range(len(exits))]
        entry = {"kind": self.structure, "layers": exits, "sure": sure, "leaving": [round(s, 4) for s in shares]}
        tensors: dict[str, torch.Tensor] = {}
        for number, (weight, bias) in enumerate(heads):
            tensors |= {f"exits.{number}.weight": weight, f"exits.{number}.bias": bias}
        made = encoder.with_structure(entry, tensors)
        lost = judged.value(task, encoder, judged.last) - judged.value(
            task, encoder, combined(logits, judged.last, sure)
        )
        flops = task_cost(made, task).flops / task_cost(encoder, task).flops
        context.done = self._said(exits, shares, sure, lost, judged_on, flops)
        return made

    def describe(self) -> str:
        if self.sure is not None:
            return f"texts leave where a head is surer than {self.sure:g}"
        return f"texts leave early, at most {100 * self.most_lost:g} points lost"

    def _exits(self, encoder: Encoder) -> list[int]:
        refusal = modeling.exits_refusal(encoder.model)
        if refusal is not None:
            raise UserError(f"{encoder.name} cannot have exits: {refusal}.")
        last = encoder.shape.layers
        if last < 2:
            raise UserError(f"{encoder.name} has {last} layers, so there is none to leave before the last.")
        wrong = [layer for layer in self.layers if not 1 <= layer < last]
        if wrong:
            raise UserError(f"No text can leave behind layer {wrong[0]}: name layers from 1 to {last - 1}.")
        return sorted({layer - 1 for layer in self.layers}) or list(range(last - 1))

    def _threshold(self, task: Task, encoder: Encoder, judged: _Seen, logits: Sequence[torch.Tensor]) -> float:
        """The smallest of some quantiles of what heads are sure of at which not more is lost than may be."""
        probabilities = torch.cat([said.softmax(-1).amax(-1) for said in logits])
        tried = torch.quantile(probabilities.double(), torch.linspace(0, 1, THRESHOLDS, dtype=torch.float64))
        whole = judged.value(task, encoder, judged.last)
        best = 1.0
        for sure in sorted({min(1.0, float(f"{value:.6f}")) for value in tried if value > 0}, reverse=True):
            if whole - judged.value(task, encoder, combined(logits, judged.last, sure)) > self.most_lost + 1e-9:
                break
            best = sure
        return best

    def _said(self, exits: list[int], shares: list[float], sure: float, lost: float, split: str, flops: float) -> str:
        parts = ", ".join(f"{100 * s:.0f} % behind layer {i + 1}" for i, s in zip(exits, shares, strict=True) if s)
        gone = f"of {split} texts leave {parts}" if parts else f"no {split} text leaves"
        return (
            f"{self.describe()}; surer than {sure:g}, {gone}: {100 * flops:.0f} % of the FLOPs on average, 100 % at "
            f"worst, {100 * lost:.2f} points lost there"
        )


@dataclass(frozen=True)
class _Seen:
    """Of texts, in the features' order. states: for each exit, (n, d) of the first tokens. last: (n, classes) logits of
    the whole model."""

    features: Features
    examples: Any
    batches: list[tuple[np.ndarray, Batch]]
    states: list[torch.Tensor]
    last: torch.Tensor

    def value(self, task: Task, encoder: Encoder, logits: torch.Tensor) -> float:
        """The task's metric where the model says these logits; without labels, the share of unchanged answers."""
        if not task.labelled:
            return float((logits.argmax(-1) == self.last.argmax(-1)).double().mean())
        found: list[Any] = [None] * len(self.features)
        for rows, batch in self.batches:
            output = SimpleNamespace(logits=logits[torch.from_numpy(rows)].to(encoder.device))
            for row, prediction in zip(rows, task.predict(output, batch), strict=True):
                found[row] = prediction
        return task.metric.value(task.statistics(found, self.features, self.examples))


class _FirstTokens(Probe):
    def __init__(self, layers: Sequence[int]):
        self.layers, self.found = layers, [torch.empty(0)] * len(layers)

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        if layer in self.layers:
            self.found[self.layers.index(layer)] = after[:, 0].cpu()


def _seen(
    encoder: Encoder, task: Task, split: str, exits: list[int], samples: int, seed: int, progress: Progress
) -> _Seen:
    examples = task.examples(split, samples, seed)
    features = task.features(examples, encoder)
    rows_of_batches = batches_by_length(features.lengths, BATCH_TOKENS.get(encoder.device.type, 2048))
    batches, states, logits, done = [], [], [], 0
    for rows in rows_of_batches:
        progress.step(done, len(features), f"first tokens of {task.name}", CALIBRATING)
        batch = task.batch(features, rows, encoder)
        with torch.inference_mode(), probing(_FirstTokens(exits)) as seen:
            logits.append(encoder.model(**batch.inputs).logits.cpu())
        assert isinstance(seen, _FirstTokens)
        states.append(seen.found)
        batches.append((rows, batch))
        done += len(rows)
    progress.step(done, len(features), f"first tokens of {task.name}", CALIBRATING)
    back = torch.from_numpy(np.argsort(np.concatenate(rows_of_batches)))
    of_exits = [torch.cat(list(one)).clone()[back] for one in zip(*states, strict=True)]
    return _Seen(features, examples, batches, of_exits, torch.cat(logits)[back])


def fitted_head(states: torch.Tensor, wanted: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (classes, d), bias (classes,)) of the logistic regression with the smallest cross entropy.

    states: (n, d). wanted: (n, classes) probabilities. Its penalty is the one of `PENALTIES` that does best on texts
    that were held out.
    """
    order = torch.randperm(len(states), generator=torch.Generator().manual_seed(seed))
    mean, scale = states.mean(0), states.std(0).clamp_min(1e-6)
    inputs = (states - mean) / scale
    held, rest = order[: int(HELD_OUT * len(order))], order[int(HELD_OUT * len(order)) :]

    def loss_of(penalty: float) -> float:
        head = _regression(inputs[rest], wanted[rest], penalty)
        return float(functional.cross_entropy(functional.linear(inputs[held], *head), wanted[held]))

    weight, bias = _regression(inputs, wanted, min(PENALTIES, key=loss_of))
    return weight / scale, bias - (weight / scale) @ mean


def _regression(inputs: torch.Tensor, wanted: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode(False), torch.enable_grad():
        inputs, wanted = inputs.clone(), wanted.clone()
        weight = torch.zeros(wanted.shape[1], inputs.shape[1], requires_grad=True)
        bias = torch.zeros(wanted.shape[1], requires_grad=True)
        solver = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            solver.zero_grad()
            loss = functional.cross_entropy(functional.linear(inputs, weight, bias), wanted)
            loss = loss + penalty * weight.square().sum() / 2
            loss.backward()
            return loss

        solver.step(closure)
    return weight.detach(), bias.detach()


def left_at(logits: Sequence[torch.Tensor], sure: float) -> torch.Tensor:
    """(n,) the number of the exit at which each text leaves, as many as there are exits = none. logits: of each."""
    leaves = torch.full((len(logits[0]),), len(logits))
    for number in reversed(range(len(logits))):
        leaves[logits[number].softmax(-1).amax(-1) > sure] = number
    return leaves


def combined(logits: Sequence[torch.Tensor], last: torch.Tensor, sure: float) -> torch.Tensor:
    """(n, classes), what each text leaves with. logits: of each exit. last: of the whole model."""
    every = torch.stack([*logits, last])
    return every[left_at(logits, sure), torch.arange(len(last))]
