"""Repair of a cut without training: the readouts' remaining columns and biases take over what the removed ones wrote.

Bottom-up, layer by layer (sequential), each readout is fitted by ridge regression on what the cut model itself delivers
to it, towards the residual sum that the original has there; so it also makes up for errors from below. K-prune (Park et
al. 2023, arXiv 2308.03449, section 4.3) does so sublayer by sublayer while it prunes; here the plan is given, the
ridge is chosen by held-out texts for each readout, and each layer runs on cached hidden states. Or all at once
(one-shot) on the original's inputs: faster, and worse where much is cut, since cut layers below do not deliver those.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from pydantic import Field
from torch import nn

from asc_core import modeling
from asc_core.compress.calibration import SAMPLES, TOKENS, Calibration, Reached, ResidualSums, calibrate
from asc_core.compress.prune import Prune, prune
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.probes import Readout
from asc_core.progress import Progress
from asc_core.scores.restart import Restartable
from asc_core.tasks.base import Task
from asc_core.values import Plan

Mode = Literal["sequential", "one-shot"]
MODES: tuple[str, ...] = get_args(Mode)
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean of the second moments' diagonal


@dataclass(frozen=True)
class Repair:
    """What was done to one readout. kept: "untouched", "scaled" or "refit", whichever had the least held-out error.

    before, after: held-out squared error of the residual sum, as a share of the square of what was to be written.
    ridge: of "refit".
    """

    kind: str
    layer: int
    kept: str
    before: float
    after: float
    ridge: float | None = None


@torch.no_grad()
def refit(
    original: Encoder,
    plan: Plan,
    calibration: Calibration,
    mode: Mode = "sequential",
    transfer: bool = False,
    progress: Progress | None = None,
) -> tuple[Encoder, list[Repair]]:
    """(the original after a plan, its readouts refitted; what was done to each). The given encoder stays as it is.

    calibration: of the original; with `moments` for the one-shot mode. transfer: see `prune`. Held-out error decides
    between refit, scaled and untouched for every readout, so that on the calibration's held-out texts none of them
    gets worse.
    Raises: UserError where layers share their weights, or plan or calibration do not belong to the encoder; Cancelled.
    """
    if plan.shape.shares_weights:
        raise UserError("A refit needs weights of its own for each layer; in this architecture (ALBERT) layers share.")
    if calibration.weights != original.weights:
        raise UserError("The calibration is of other weights than this encoder's: calibrate again.")
    smaller = prune(original, plan, transfer)
    repair_all = _sequential if mode == "sequential" else _one_shot
    return smaller, repair_all(smaller, original, plan, calibration, progress or Progress())


def _sequential(
    smaller: Encoder, original: Encoder, plan: Plan, calibration: Calibration, progress: Progress
) -> list[Repair]:
    runner = Restartable(smaller)
    norm_first = modeling.architecture_of(smaller.model).norm_first
    hidden = [text.hidden for text in calibration.texts]
    runner.record(calibration.texts[0].batch.inputs)
    repairs = []
    total = len(smaller.readouts) * len(hidden)
    for number, readout in enumerate(smaller.readouts):
        layer = number // 2
        place = (readout.kind, layer)
        has_bias = readout.linear.bias is not None
        fitted, held_out = Fit(has_bias), Fit(has_bias)
        for batch, (text, states) in enumerate(zip(calibration.texts, hidden, strict=True)):
            progress.step(number * len(hidden) + batch, total, "refitting")
            probe = ResidualSums(norm_first, until=place)
            with suppress(Reached):
                runner.layer(layer, text.batch.inputs, states, probe)
            there = (readout.kind, plan.layers[layer])
            wanted, weights = text.sums[there] - probe.residual, text.weights[there]
            for fit, chosen in ((fitted, ~text.held_out), (held_out, text.held_out)):
                tokens = text.real & chosen[:, None]
                fit.add(probe.inputs[place][tokens], wanted[tokens], weights[tokens])
        solution, done = best_of(readout, fitted, held_out, layer)
        for linear in (readout.linear, runner.encoder.readouts[number].linear):
            _put(linear, solution)
        repairs.append(done)
        if readout.kind == "ffn":
            hidden = [
                runner.layer(layer, text.batch.inputs, states)
                for text, states in zip(calibration.texts, hidden, strict=True)
            ]
    progress.step(total, total, "refitting")
    return repairs


def _one_shot(
    smaller: Encoder, original: Encoder, plan: Plan, calibration: Calibration, progress: Progress
) -> list[Repair]:
    whole = {(readout.kind, readout.row): readout for readout in original.readouts}
    repairs = []
    for number, readout in enumerate(smaller.readouts):
        progress.step(number, len(smaller.readouts), "refitting")
        row = plan.layers[number // 2]
        blocks = plan.heads[row] if readout.kind == "attention" else plan.neurons[row]
        dense = whole[readout.kind, row].linear
        columns = torch.tensor(blocks, dtype=torch.long)[:, None] * readout.width + torch.arange(readout.width)
        constant = [] if dense.bias is None else [dense.in_features]
        kept = torch.cat([columns.flatten(), torch.tensor(constant, dtype=torch.long)])
        before = solution_of(dense)
        fitted, held_out = (
            Fit.of(moments[: len(before), : len(before)], before, kept)
            for moments in calibration.moments[readout.kind, row]
        )
        solution, done = best_of(readout, fitted, held_out, number // 2)
        _put(readout.linear, solution)
        repairs.append(done)
    progress.step(len(smaller.readouts), len(smaller.readouts), "refitting")
    return repairs


class Fit:
    """Sums for a linear regression of targets (n, d) on inputs (n, columns), the last of them 1 if it has a bias."""

    def __init__(self, bias: bool = True) -> None:
        self.bias = bias
        self.moments: Any = 0.0  # (columns, columns)
        self.cross: Any = 0.0  # (columns, d)
        self.square = 0.0
        self.rows = 0

    def add(self, inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> None:
        """inputs: (n, columns without the 1). targets: (n, d). weights: (n,), how much a row counts."""
        a = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1) if self.bias else inputs
        weighted = a * weights[:, None]
        self.moments = self.moments + weighted.T @ a
        self.cross = self.cross + weighted.T @ targets
        self.square += float((targets.square().sum(1) * weights).sum())
        self.rows += len(inputs)

    @staticmethod
    def of(moments: torch.Tensor, whole: torch.Tensor, kept: torch.Tensor) -> Fit:
        """Of the kept columns towards what all of them write. moments: (all, all). whole: (all, d)."""
        fit, cross = Fit(), moments @ whole
        fit.moments, fit.cross = moments[kept][:, kept], cross[kept]
        fit.square, fit.rows = float((whole * cross).sum(dtype=torch.float64)), 1
        return fit

    def __add__(self, other: Fit) -> Fit:
        both = Fit(self.bias)
        both.moments, both.cross = self.moments + other.moments, self.cross + other.cross
        both.square, both.rows = self.square + other.square, self.rows + other.rows
        return both

    def error(self, solution: torch.Tensor) -> float:
        """Sum of squares that a solution, (columns, d), leaves."""
        explained = (solution * (self.moments @ solution - 2 * self.cross)).sum(dtype=torch.float64)
        return max(self.square + float(explained), 0.0)

    def ridge(self, start: torch.Tensor, strength: float) -> torch.Tensor:
        """The solution that is drawn towards `start`, not towards 0."""
        moments = self.moments
        damping = strength * moments.diagonal().mean().clamp_min(1e-12)
        factor = torch.linalg.cholesky(moments + damping * torch.eye(len(moments), device=moments.device))
        return start + torch.cholesky_solve(self.cross - moments @ start, factor)

    def scale(self, start: torch.Tensor) -> torch.Tensor:
        """`start` times the number that fits best."""
        product = (start * (self.moments @ start)).sum()
        return start * ((start * self.cross).sum() / product.clamp_min(1e-12))


def solution_of(linear: nn.Linear) -> torch.Tensor:
    """(columns, d): the weight and the bias of a readout, as a `Fit` has them."""
    weight = linear.weight.detach().T
    return weight if linear.bias is None else torch.cat([weight, linear.bias.detach()[None]])


def _put(linear: nn.Linear, solution: torch.Tensor) -> None:
    columns = linear.in_features
    linear.weight = nn.Parameter(solution[:columns].T.contiguous(), requires_grad=False)
    if linear.bias is not None:
        linear.bias = nn.Parameter(solution[columns].clone(), requires_grad=False)


def best_of(readout: Readout, fitted: Fit, held_out: Fit, layer: int) -> tuple[torch.Tensor, Repair]:
    """The best of untouched, scaled and refit for a readout, by held-out error: (columns, d).

    The ridge is chosen on `held_out`; the correction that is used is then fitted to all texts.
    """
    start = solution_of(readout.linear)
    before = least = held_out.error(start)
    total, kept, ridge = max(held_out.square, 1e-30), "untouched", None
    if not (held_out.rows and fitted.rows and len(start)):
        return start, Repair(readout.kind, layer, kept, before / total, before / total)
    error = held_out.error(fitted.scale(start))
    if error < least:
        least, kept = error, "scaled"
    for strength in RIDGES:
        error = held_out.error(fitted.ridge(start, strength))
        if error < least:
            least, kept, ridge = error, "refit", strength
    both = fitted + held_out
    solution = start
    if kept == "scaled":
        solution = both.scale(start)
    elif ridge is not None:
        solution = both.ridge(start, ridge)
    return solution, Repair(readout.kind, layer, kept, before / total, least / total, ridge)


class Refit(Prune):
    """Cut a plan, then refit. mode, samples, tokens, seed: see `refit` and `calibrate`."""

    kind: ClassVar[str] = "plan and refit"
    needs_task: ClassVar[bool] = True
    mode: Mode = "sequential"
    samples: int = Field(default=SAMPLES, ge=8)
    tokens: int = Field(default=TOKENS, ge=64)
    seed: int = 0

    def apply(self, encoder: Encoder, task: Task | None = None, progress: Progress | None = None) -> Encoder:
        assert task is not None, "a recipe asks for the task"
        calibration = calibrate(
            encoder,
            task,
            samples=self.samples,
            tokens=self.tokens,
            seed=self.seed,
            moments=self.mode == "one-shot",
            progress=progress,
        )
        return refit(encoder, self.value(), calibration, self.mode, self.transfer, progress)[0]

    def describe(self) -> str:
        return f"{super().describe()}, readouts refitted ({self.mode})"

    def identity(self) -> Any:
        return [self.value().key, self.mode, self.samples, self.tokens, self.seed]
