"""Which heads stand in for one another: pairs whose loss together is more than the sum of their losses alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.gates import apply_gate
from asc_core.probes import Probe, Readout, probing
from asc_core.progress import Progress
from asc_core.scores.ablation import Part, Work, losses_without
from asc_core.scores.streaming import replicate_weights
from asc_core.tasks.base import Task

Head = tuple[int, int]
PAIRS_AT_ONCE = 32


@dataclass(frozen=True)
class Interactions:
    """Measured pairs, the most promising first.

    pairs: ((row, head), (row, head)) each. interaction: (pairs,) loss(both off) - loss(a off) - loss(b off) +
    loss(dense); above 0 where one makes up for the loss of the other, below 0 where they work only together.
    low, high: (pairs,) 95 % interval over examples. predicted: (pairs,) see `predicted_interactions`.
    total: how many pairs there are; fewer were measured where the budget ran out.
    """

    pairs: tuple[tuple[Head, Head], ...]
    interaction: np.ndarray
    low: np.ndarray
    high: np.ndarray
    predicted: np.ndarray
    total: int
    examples: int


def ablate_pairs(
    encoder: Encoder,
    task: Task,
    heads: Sequence[Head] | None = None,
    *,
    budget: int | None = 200,
    seconds: float | None = None,
    split: str = "train",
    samples: int | None = 256,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> Interactions:
    """Switch heads off two at a time, as far as the budget reaches.

    heads: (row, head) of those to pair, None = all. budget: pairs at most. seconds: no further pairs are begun after
    that time, but a first few are always measured. The most promising pairs come first: see `predicted_interactions`.

    Raises: UserError (no such head, task without labels), Cancelled.
    """
    start = time.monotonic()
    progress = progress or Progress()
    chosen = _checked(encoder, heads)
    work = Work.prepare(encoder, task, ("heads",), split, samples, seed, batch_tokens)
    predicted = predicted_interactions(work)
    offsets = np.cumsum((0, *encoder.shape.heads))
    number = {head: int(offsets[head[0]]) + head[1] for head in chosen}

    def promise(pair: tuple[Head, Head]) -> float:
        return abs(float(predicted[number[pair[0]], number[pair[1]]]))

    every = sorted(combinations(chosen, 2), key=promise, reverse=True)
    planned = every if budget is None else every[: max(0, budget)]
    alone = sorted({head for pair in planned for head in pair})
    total, what = len(alone) + len(planned), f"pairs of heads on {task.name}"
    progress.step(0, total, what)
    loss, windows = losses_without(work, [_part((head,)) for head in alone], lambda: progress.step(0, total, what))
    dense, single = loss[:, 0], dict(zip(alone, loss[:, 1:].T, strict=True))
    differences: list[np.ndarray] = []
    while len(differences) < len(planned):
        if differences and seconds is not None and time.monotonic() - start > seconds:
            break
        pairs = planned[len(differences) : len(differences) + PAIRS_AT_ONCE]
        done = len(alone) + len(differences)
        order = sorted(range(len(pairs)), key=lambda i: _part(pairs[i]).first_layer(encoder.shape.rows))
        parts = [_part(pairs[i]) for i in order]
        together, _ = losses_without(work, parts, lambda done=done: progress.step(done, total, what))  # type: ignore[misc]
        columns = dict(zip(order, together[:, 1:].T, strict=True))
        differences += [columns[i] - single[a] - single[b] + dense for i, (a, b) in enumerate(pairs)]
    progress.step(len(alone) + len(differences), total, what)
    measured = planned[: len(differences)]
    per_example = np.stack(differences, 1) if differences else np.zeros((len(windows), 0))
    weights = replicate_weights(seed, work.examples.numbers).astype(np.float64)
    weights = weights[weights.sum(1) > 0]
    drawn = (weights @ per_example) / (weights @ windows)[:, None]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return Interactions(
        tuple(measured),
        per_example.sum(0) / windows.sum(),
        low,
        high,
        np.asarray([predicted[number[a], number[b]] for a, b in measured]),
        len(every),
        len(work.examples),
    )


def _checked(encoder: Encoder, heads: Sequence[Head] | None) -> list[Head]:
    every = [(row, head) for row, count in enumerate(encoder.shape.heads) for head in range(count)]
    for head in heads or ():
        if tuple(head) not in every:
            raise UserError(f"There is no head {head[1]} in layer {head[0]} (counted from 0): {encoder.shape}.")
    return every if heads is None else sorted({(row, head) for row, head in heads})


def _part(heads: Sequence[Head]) -> Part:
    """One head, or two of one row or of different rows, the lower first."""
    (row, head), *others = heads
    if not others:
        return Part("heads", row, head, (head,))
    other_row, other = others[0]
    if other_row == row:
        return Part("heads", row, head, (head, other))
    return Part("heads", row, head, (head,), Part("heads", other_row, other, (other,)))


class _HeadGates(Probe):
    """One gate for each example and head, asking for its gradient."""

    def __init__(self, encoder: Encoder, texts: int):
        heads = encoder.shape.heads
        self.gates = [torch.ones(texts, n, device=encoder.device, requires_grad=True) for n in heads]

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        return apply_gate(inputs, self.gates[readout.row], readout.width) if readout.kind == "attention" else None


def predicted_interactions(work: Work) -> np.ndarray:
    """(heads, heads) mean over features of the product of two heads' gate gradients.

    The interaction of two heads is to second order the mixed derivative of the loss by their gates, and that is about
    this (the empirical Fisher matrix; Kwon et al. 2022, arXiv 2204.09656, use it to rearrange masks).
    """
    encoder, task = work.encoder, work.task
    products = np.zeros((sum(encoder.shape.heads),) * 2)
    for rows in (piece for batch in work.batches for piece in work.pieces(batch)):
        batch = task.batch(work.features, rows, encoder)
        probe = _HeadGates(encoder, len(batch.mask))
        with torch.enable_grad(), probing(probe):
            loss = task.loss(encoder.model(**batch.inputs), batch).sum()
            each = torch.autograd.grad(loss, probe.gates, allow_unused=True, materialize_grads=True)
        gradient = torch.cat(each, 1).unflatten(0, (-1, batch.rows_per_feature)).sum(1)
        products += (gradient.T @ gradient).double().cpu().numpy()
    return products / len(work.features)
