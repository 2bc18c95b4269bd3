"""Scores that foresee the refit: what is lost when a part goes *after* the parts that stay have taken over its work.

Optimal brain surgeon (Hassibi and Stork 1992) on the structures of a readout, as in ZipLM (Kurtic et al. 2023, arXiv
2302.04089): with H the second moments of the readout's input, the columns S of its weight W can be removed and the
others adjusted at the cost tr(V_S^T G V_S (H^-1)_SS^-1), where G, the second moments of the loss gradient at the
readout's output, says how much an error there is felt (Kronecker-factored curvature, as in K-FAC). The loss here is
how far the outputs move, and a token's input counts in H by how much its readout is felt, so that what only [CLS] reads
at the end is kept right for [CLS]. After each removal W and H^-1 are updated, so that of two parts that do the same
thing only one is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.parts import BLOCKS_OF
from asc_core.progress import Progress
from asc_core.scores.grams import GramSums
from asc_core.scores.origin import origin
from asc_core.scores.sensitivity import GateGradients
from asc_core.scores.sweep_pass import SweepPass
from asc_core.values import PartValues, Scores, Shape

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.probes import Readout, ReadoutKey
    from asc_core.scores.collector import BatchView, ReadoutWeights
    from asc_core.scores.streaming import Statistic
    from asc_core.study import Study
    from asc_core.tasks.base import Task

OBS = "obs"
TOKENS = 8192
DAMPING = 1e-3  # of the mean of H's diagonal
NEURONS_AT_ONCE = 16
FELT = 0.5  # how much of a token's weight in H goes by its gradient; by benchmarks/results/token_weights.json


def surgeon_scores(
    encoder: Encoder,
    task: Task,
    *,
    split: str = "train",
    samples: int | None = 1024,
    tokens: int = TOKENS,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    study: Study | None = None,
) -> Scores:
    """{heads, neurons, attention, ffn} by optimal brain surgeon; needs no labels.

    A head's or neuron's value is by how much the outputs' mean squared change is expected to rise when it goes after
    all parts of its readout with a lower value; values of a readout are made to rise in the order of removal (slopes
    of the convex hull of what is lost in all), so that a budget can be spread by value per cost. A sublayer's value is
    that of all its parts. There is no interval.

    tokens: about how many are looked at, spread over all texts (at least 2 of each). study: where they are saved.
    Raises: UserError, Cancelled.
    """
    progress = progress or Progress()
    work = SweepPass(encoder, task, task.examples(split, samples, seed), [OutputGradients], "argmax", seed)
    lengths = work.features.lengths
    work.token_share = min(1.0, tokens / max(1, int(lengths.sum())))
    inputs, gradients, done = GramSums(), GramSums(), 0
    for batch in batches_by_length(lengths, batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)):
        progress.step(done, len(lengths), f"scoring {task.name}")
        (seen,) = work.observe(batch)[1]
        assert isinstance(seen, OutputGradients)
        inputs.add(seen.inputs)
        gradients.add(seen.gradients)
        done += len(batch)
    second_moments, output_moments = inputs.totals(), gradients.totals()
    removals = {}
    for number, readout in enumerate(encoder.readouts):
        progress.step(number, len(encoder.readouts), f"removing in order, {task.name}")
        place = (readout.kind, readout.row)
        gram = torch.from_numpy(second_moments[place])
        removals[place] = removal(
            readout.linear.weight.detach().cpu(),
            (gram / gram[-1, -1].clamp_min(1e-30)).float(),
            torch.from_numpy(output_moments[place] / len(lengths)).float(),
            readout.width,
        )
    progress.step(len(encoder.readouts), len(encoder.readouts), f"removing in order, {task.name}")
    scores = Scores(
        method=OBS,
        values=_values(removals, encoder.shape),
        shape=encoder.shape,
        weights=encoder.weights,
        task=task.name,
        split=split,
        examples=len(work.examples),
        seed=seed,
        labels="none",
        notes=work.features.remarks(len(work.examples)),
        texts=origin(task, split, samples, seed),
    )
    if study is not None:
        study.save_scores(scores)
    return scores


class OutputGradients(GateGradients):
    """Of sampled tokens: each readout's input [x, 1], and how the model's outputs change with the readout's output.

    gradients: readout -> (tokens, d) rows, each times the root of how many tokens it stands for. inputs: readout ->
    (tokens, columns + 1) rows, each times the root of what it counts: by the square of its gradient, but a little by
    the batch's mean, so that H is not of a few tokens alone.
    """

    targets = "projection"

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.inputs: dict[ReadoutKey, list[torch.Tensor]] = {}
        self.gradients: dict[ReadoutKey, list[torch.Tensor]] = {}

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        begins = self.source is None
        if begins:
            inputs = inputs.detach().requires_grad_()
            self.source = inputs
        return inputs if begins else None

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        """A gate on the whole layer is of no interest here."""

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        sampled = self.view.sampled(inputs.detach()).flatten(0, 1)
        a = torch.cat([sampled, sampled.new_ones(len(sampled), 1)], 1)
        output.register_hook(lambda gradient: self._keep(readout, a, gradient))

    @torch.no_grad()
    def _keep(self, readout: Readout, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        root = self.view.sample_weight.sqrt().view(-1, 1)
        felt = self.view.sampled(gradient).flatten(0, 1) * root
        place = (readout.kind, readout.row)
        self.gradients.setdefault(place, []).append(felt)
        square = felt.square().sum(1, keepdim=True)
        counts = FELT * square + (1 - FELT) * square.mean() * self.view.sample_weight.view(-1, 1)
        self.inputs.setdefault(place, []).append(inputs * counts.sqrt())

    def statistics(self) -> dict[str, Statistic]:
        self.source = None
        return {}


@dataclass(frozen=True)
class Removal:
    """order: blocks of a readout, the first to go first. lost: (blocks + 1,) what is lost in all with so many gone."""

    order: np.ndarray
    lost: np.ndarray


@torch.no_grad()
def removal(
    weight: torch.Tensor, moments: torch.Tensor, felt: torch.Tensor, width: int, at_once: int = NEURONS_AT_ONCE
) -> Removal:
    """The order in which the blocks of a readout are best removed, greedily, the rest taking over after each.

    weight: (d, columns). moments: (columns + 1, columns + 1) E[x^T x] of [x, 1]. felt: (d, d) moments of the gradient
    at the output. width: columns of a block. at_once: how many single columns go in one step (of blocks, one).
    """
    root = _root(felt)
    rest = torch.cat([root @ weight, weight.new_zeros(len(weight), 1)], 1)  # (d, columns + 1), in units of the loss
    damped = moments + DAMPING * moments.diagonal()[:-1].mean().clamp_min(1e-12) * torch.eye(len(moments))
    inverse = torch.linalg.inv(damped.double()).float()
    left = torch.arange(weight.shape[1] // width)
    order: list[int] = []
    steps: list[float] = []
    while len(left):
        columns = left[:, None] * width + torch.arange(width)
        if width == 1:
            single = columns[:, 0]
            each = rest[:, single].square().sum(0) / inverse[single, single].clamp_min(1e-30)
            lowest, first = torch.topk(each, min(at_once, len(left)), largest=False)
        else:
            each = torch.stack([_lost(rest, inverse, block)[0] for block in columns])
            first = each.argmin()[None]
            lowest = each[first]
        gone = columns[first].flatten()
        together, taken_over = _lost(rest, inverse, gone)
        share = lowest / lowest.sum().clamp_min(1e-30)
        order += left[first].tolist()
        steps += (share * together).tolist()
        rest -= taken_over @ inverse[gone]
        inverse -= inverse[:, gone] @ torch.linalg.solve(inverse[gone][:, gone], inverse[gone])
        stays = torch.ones(len(left), dtype=torch.bool)
        stays[first] = False
        left = left[stays]
    return Removal(np.array(order, dtype=np.int64), np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0))]))


def _lost(rest: torch.Tensor, inverse: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(tr(V_S (H^-1)_SS^-1 V_S^T), V_S (H^-1)_SS^-1) of the columns S."""
    part = rest[:, columns]
    taken_over = torch.linalg.solve(inverse[columns][:, columns], part.T).T
    return (taken_over * part).sum(), taken_over


def _root(moments: torch.Tensor) -> torch.Tensor:
    """R with R^T R = moments, whatever its rank."""
    values, vectors = torch.linalg.eigh(moments.double())
    return (values.clamp_min(0).sqrt()[:, None] * vectors.T).float()


def rising(removal: Removal) -> np.ndarray:
    """(blocks,) a value for each block: the slope of the convex hull of `lost`, rising in the order of removal."""
    lost, count = removal.lost, len(removal.order)
    corners: list[int] = []
    for i in range(count + 1):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (lost[b] - lost[a]) * (i - b) < (lost[i] - lost[b]) * (b - a):
                break
            corners.pop()
        corners.append(i)
    slopes = np.zeros(count)
    for a, b in pairwise(corners):
        slopes[a:b] = (lost[b] - lost[a]) / (b - a)
    values = np.empty(count)
    # On one slope, too, the order counts: a billionth of the whole says so.
    values[removal.order] = np.maximum.accumulate(slopes) + 1e-9 * lost[-1] * np.arange(count) / max(count, 1)
    return values


def _values(removals: Mapping[ReadoutKey, Removal], shape: Shape) -> PartValues:
    rows = range(len(shape.heads))
    found: dict[str, Any] = {}
    for kind in ("attention", "ffn"):
        found[BLOCKS_OF[kind]] = tuple(rising(removals[kind, row]) for row in rows)
        found[kind] = np.array([removals[kind, row].lost[-1] for row in rows])
    return PartValues(**found)
