"""Optimal brain surgeon: what is lost when a part goes *after* the parts that stay have taken over its work.

Hassibi and Stork (1992) on the structures of a readout, as in ZipLM (Kurtic et al. 2023, arXiv 2302.04089): with H the
second moments of the readout's input, the columns S of its weight W can be removed and the others adjusted at the cost
tr(V_S^T G V_S (H^-1)_SS^-1), where G, the second moments of the loss gradient at the readout's output, says how much an
error there changes the loss (Kronecker-factored curvature, as in K-FAC). The loss here is how far the outputs move, and
a token's input counts in H by its gradient at the readout, so that what only [CLS] reads at the end is kept right for
[CLS]. After each removal W and H^-1 are updated, so that of two parts that do the same thing only one is cheap.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.parts import BLOCKS, BLOCKS_OF, SUBLAYERS
from asc_core.progress import SCORING, Progress
from asc_core.scores.collector import Differentiable
from asc_core.scores.first_look import Kept, examples_of, looks
from asc_core.scores.grams import GramSums
from asc_core.scores.method import Growing, OwnPass, Request
from asc_core.scores.sensitivity import random_projection
from asc_core.scores.sweep_pass import SweepPass
from asc_core.values import PartValues, Scores, Shape

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.probes import Readout, ReadoutKey
    from asc_core.scores.collector import BatchView, ReadoutWeights
    from asc_core.scores.streaming import Statistic
    from asc_core.tasks.base import Batch, Task

OBS = "obs"
TOKENS = 8192
DAMPING = 1e-3  # of the mean of H's diagonal
NEURONS_AT_ONCE = 16
GRADIENT_WEIGHT = (
    0.5  # how much of a token's weight in H goes by its gradient; by benchmarks/results/token_weights.json
)


def obs_scores(
    encoder: Encoder,
    task: Task,
    *,
    split: str = "train",
    samples: int | None = 1024,
    tokens: int = TOKENS,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> Scores:
    """{heads, neurons, attention, ffn} by optimal brain surgeon; needs no labels.

    A head's or neuron's value is by how much the outputs' mean squared change is expected to rise when it goes after
    all parts of its readout with a lower value; values of a readout are made to rise in the order of removal (slopes
    of the convex hull of what is lost in all), so that a budget can be spread by value per cost. A sublayer's value is
    that of all its parts. There is no interval.

    tokens: about how many are looked at, spread over all texts (at least 2 of each).
    Raises: UserError, Cancelled.
    """
    request = Request(split, samples, seed, "argmax", batch_tokens, progress or Progress(), None)
    growing = _growing(encoder, task, request, tokens, looking=False)
    while True:
        try:
            next(growing)
        except StopIteration as end:
            return end.value


def _growing(
    encoder: Encoder, task: Task, request: Request, tokens: int, looking: bool
) -> Generator[Scores | None, None, Scores]:
    """looking: whether to yield what is known before the end: of heads and sublayers on the first examples (None where
    these are too few), then on all, before the order of the neurons, which takes longest."""
    progress = request.progress
    examples = task.examples(request.split, request.samples, request.seed)
    work = SweepPass(encoder, task, examples, [OutputGradients], "argmax", request.seed)
    lengths, example = work.features.lengths, work.features.example
    work.token_share = min(1.0, tokens / max(1, int(lengths.sum())))
    batches = batches_by_length(lengths, request.batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048))
    notes = work.features.remarks(len(examples))
    kept: Kept[_Seen] = Kept()

    def report(done: int) -> None:
        finished = sum(map(len, batches[:done])) + sum(len(batches[index]) for index in kept)
        progress.step(finished, len(lengths), f"scoring {task.name}", SCORING)

    def first_look(which: list[int]) -> Scores:
        sums, rows = _Moments(), [batches[index] for index in which]
        for index in which:
            report(0)
            seen = _Seen.of(work, batches[index])
            sums.add(seen)
            kept.keep(index, seen, seen.bytes)
        moments = sums.totals(sum(map(len, rows)))
        values = _without_neurons(encoder, moments, _heads_in_order(encoder, moments, progress))
        return request.scores(OBS, encoder, task, values, examples_of(rows, example), notes=notes)

    if looking:
        which = looks(batches, example)
        yield first_look(which[0]) if which else None
    sums = _Moments()
    for index, batch in enumerate(batches):
        report(index)
        sums.add(kept.take(index) or _Seen.of(work, batch))
    moments = sums.totals(len(lengths))
    heads: Mapping[ReadoutKey, RemovalOrder] = {}
    if looking:
        heads = _heads_in_order(encoder, moments, progress)
        values = _without_neurons(encoder, moments, heads)
        yield request.scores(OBS, encoder, task, values, len(examples), notes=notes)
    removals = {}
    for number, readout in enumerate(encoder.readouts):
        progress.step(number, len(encoder.readouts), f"removing in order, {task.name}", SCORING)
        key = (readout.kind, readout.row)
        removals[key] = heads.get(key) or moments.removal_order(readout)
    progress.step(len(encoder.readouts), len(encoder.readouts), f"removing in order, {task.name}", SCORING)
    return request.scores(OBS, encoder, task, _values(removals, encoder.shape), len(examples), notes=notes)


@dataclass(frozen=True)
class _Seen:
    """What a batch says: of each readout rows as `OutputGradients` has them."""

    inputs: Mapping[ReadoutKey, list[torch.Tensor]]
    gradients: Mapping[ReadoutKey, list[torch.Tensor]]

    @staticmethod
    def of(work: SweepPass, batch: np.ndarray) -> _Seen:
        (seen,) = work.observe(batch)[1]
        assert isinstance(seen, OutputGradients)
        return _Seen(seen.inputs, seen.gradients)

    @property
    def bytes(self) -> int:
        found = [*self.inputs.values(), *self.gradients.values()]
        return sum(rows.nbytes for each in found for rows in each)


class _Moments:
    """Sums of what batches say."""

    def __init__(self) -> None:
        self._inputs, self._gradients = GramSums(), GramSums()

    def add(self, seen: _Seen) -> None:
        self._inputs.add(seen.inputs)
        self._gradients.add(seen.gradients)

    def totals(self, features: int) -> Moments:
        return Moments(self._inputs.totals(), self._gradients.totals(), features)


@dataclass(frozen=True)
class Moments:
    """Of each readout: sums over features of second moments of its input and of the gradient at its output."""

    inputs: Mapping[ReadoutKey, np.ndarray]
    gradients: Mapping[ReadoutKey, np.ndarray]
    features: int

    def removal_order(self, readout: Readout) -> RemovalOrder:
        return removal_order(readout.weight.detach().cpu(), *self._of(readout), readout.width)

    def lost_in_all(self, readout: Readout) -> float:
        return lost_in_all(readout.weight.detach().cpu(), *self._of(readout))

    def _of(self, readout: Readout) -> tuple[torch.Tensor, torch.Tensor]:
        key = (readout.kind, readout.row)
        gram = torch.from_numpy(self.inputs[key])
        return (
            (gram / gram[-1, -1].clamp_min(1e-30)).float(),
            torch.from_numpy(self.gradients[key] / self.features).float(),
        )


def _heads_in_order(encoder: Encoder, moments: Moments, progress: Progress) -> dict[ReadoutKey, RemovalOrder]:
    found = {}
    for readout in encoder.readouts:
        progress.check()
        if readout.kind == "attention":
            found[readout.kind, readout.row] = moments.removal_order(readout)
    return found


def _without_neurons(encoder: Encoder, moments: Moments, heads: Mapping[ReadoutKey, RemovalOrder]) -> PartValues:
    """{heads, attention, ffn}: what a sublayer is worth in all needs no order of its neurons."""
    ffn = {readout.row: moments.lost_in_all(readout) for readout in encoder.readouts if readout.kind == "ffn"}
    in_order = [heads["attention", row] for row in range(len(encoder.shape.heads))]
    return PartValues(
        heads=tuple(map(isotonic_values, in_order)),
        attention=np.array([removal.lost[-1] for removal in in_order]),
        ffn=np.array([ffn[row] for row in range(len(encoder.shape.heads))]),
    )


def _projected(output: Any, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    return random_projection(output, batch.mask, lambda _, shape: torch.randn(shape, generator=generator))


class OutputGradients(Differentiable):
    """Of sampled tokens: each readout's input [x, 1], and how the model's outputs change with the readout's output.

    gradients: readout -> (tokens, d) rows, each times the root of how many tokens it stands for. inputs: readout ->
    (tokens, columns + 1) rows, each times the root of what it counts: by the square of its gradient, but a little by
    the batch's mean, so that H is not of a few tokens alone.
    """

    own_loss = staticmethod(_projected)

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.inputs: dict[ReadoutKey, list[torch.Tensor]] = {}
        self.gradients: dict[ReadoutKey, list[torch.Tensor]] = {}

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        inputs, begins = self.in_graph(inputs)
        return inputs if begins else None

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        sampled = self.view.sampled(inputs.detach()).flatten(0, 1)
        a = torch.cat([sampled, sampled.new_ones(len(sampled), 1)], 1)
        output.register_hook(lambda gradient: self._keep(readout, a, gradient))

    @torch.no_grad()
    def _keep(self, readout: Readout, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        if not self.listening:
            return
        root = self.view.sample_weight.sqrt().view(-1, 1)
        weighted = self.view.sampled(gradient).flatten(0, 1) * root
        key = (readout.kind, readout.row)
        self.gradients.setdefault(key, []).append(weighted)
        square = weighted.square().sum(1, keepdim=True)
        counts = GRADIENT_WEIGHT * square + (1 - GRADIENT_WEIGHT) * square.mean() * self.view.sample_weight.view(-1, 1)
        self.inputs.setdefault(key, []).append(inputs * counts.sqrt())

    def statistics(self) -> dict[str, Statistic]:
        return {}


@dataclass(frozen=True)
class RemovalOrder:
    """order: blocks of a readout, the first to go first. lost: (blocks + 1,) what is lost in all with so many gone."""

    order: np.ndarray
    lost: np.ndarray


@torch.no_grad()
def removal_order(
    weight: torch.Tensor,
    moments: torch.Tensor,
    output_moments: torch.Tensor,
    width: int,
    at_once: int = NEURONS_AT_ONCE,
) -> RemovalOrder:
    """The order in which the blocks of a readout are best removed, greedily, the rest taking over after each.

    weight: (d, columns). moments: (columns + 1, columns + 1) E[x^T x] of [x, 1]. output_moments: (d, d) moments of the
    gradient at the output. width: columns of a block. at_once: how many single columns go in one step (of blocks, one).
    """
    root = _root(output_moments)
    rest = torch.cat([root @ weight, weight.new_zeros(len(weight), 1)], 1)  # (d, columns + 1), in units of the loss
    inverse = torch.linalg.inv(_damped(moments).double()).float()
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
    return RemovalOrder(np.array(order, dtype=np.int64), np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0))]))


@torch.no_grad()
def lost_in_all(weight: torch.Tensor, moments: torch.Tensor, output_moments: torch.Tensor) -> float:
    """What is lost when all blocks are gone, whatever their order: the last of `removal_order(...).lost`."""
    damped, rest = _damped(moments), _root(output_moments) @ weight
    with_bias = damped[:-1, -1:]
    left_by_bias = damped[:-1, :-1] - with_bias @ with_bias.T / damped[-1, -1]
    return float(((rest @ left_by_bias) * rest).sum())


def _damped(moments: torch.Tensor) -> torch.Tensor:
    return moments + DAMPING * moments.diagonal()[:-1].mean().clamp_min(1e-12) * torch.eye(len(moments))


def _lost(rest: torch.Tensor, inverse: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(tr(V_S (H^-1)_SS^-1 V_S^T), V_S (H^-1)_SS^-1) of the columns S."""
    part = rest[:, columns]
    taken_over = torch.linalg.solve(inverse[columns][:, columns], part.T).T
    return (taken_over * part).sum(), taken_over


def _root(moments: torch.Tensor) -> torch.Tensor:
    """R with R^T R = moments, whatever its rank."""
    values, vectors = torch.linalg.eigh(moments.double())
    return (values.clamp_min(0).sqrt()[:, None] * vectors.T).float()


def isotonic_values(removal: RemovalOrder) -> np.ndarray:
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


def _values(removals: Mapping[ReadoutKey, RemovalOrder], shape: Shape) -> PartValues:
    rows = range(len(shape.heads))
    found: dict[str, Any] = {}
    for kind in SUBLAYERS:
        found[BLOCKS_OF[kind]] = tuple(isotonic_values(removals[kind, row]) for row in rows)
        found[kind] = np.array([removals[kind, row].lost[-1] for row in rows])
    return PartValues(**found)


def _run(encoder: Encoder, task: Task, request: Request) -> dict[str, Scores]:
    found = obs_scores(
        encoder,
        task,
        split=request.split,
        samples=request.samples,
        seed=request.seed,
        batch_tokens=request.batch_tokens,
        progress=request.progress,
    )
    return {OBS: found}


def _grow(encoder: Encoder, task: Task, request: Request) -> Growing:
    growing = _growing(encoder, task, request, TOKENS, looking=True)
    while True:
        try:
            look = next(growing)
        except StopIteration as end:
            return {OBS: end.value}
        yield {OBS: look} if look is not None else {}


METHODS = (
    OwnPass(
        id=OBS,
        title="Optimal brain surgeon",
        description="By how much the outputs are expected to move when a part goes after the cheaper parts of its "
        "sublayer, those that stay taking over its work (as a refit lets them). A pass of its own.",
        source="ZipLM, Kurtic et al. 2023, arXiv 2302.04089, section 3, with the curvature at the readouts' outputs",
        parts=(*BLOCKS, *SUBLAYERS),
        asked="by name",
        one_scale=True,
        offered=1,  # the first with a repair: benchmarks/results/quality.json
        run=_run,
        grow=_grow,
    ),
)
