"""Repair of encoders whose layers share weights (ALBERT): one readout is fitted to all the layers that run on it.

A readout that several layers call has one weight, so its calls are one regression: the products of what it reads and
of what it should write are summed over its calls. A new weight also changes what its own later calls read, which no
regression can foresee. So it is done in rounds, readout by readout on what the cut model delivers by then, and a new
weight stays, whole or in part, only where the cut model's last residual sums come closer to the original's on held-out
texts. That error never rises: there the repaired model is never further from the original than the cut alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from asc_core import modeling
from asc_core.compress.bottom_up import check_fits
from asc_core.compress.calibration import Calibration, CalibrationBatch
from asc_core.compress.fit import Fit
from asc_core.compress.half_precision import ROUNDING
from asc_core.compress.prune import prune
from asc_core.compress.refit import RIDGES
from asc_core.compress.repair import Repair, RepairOptions
from asc_core.compress.residual_sums import ResidualSums
from asc_core.compress.solutions import set_weight, solution_of
from asc_core.encoder import Encoder
from asc_core.probes import Readout, probing
from asc_core.progress import REPAIRING, Progress
from asc_core.values import Plan

ROUNDS = 3
LEAST_GAIN = 0.01  # of the error before it: a round that wins less is the last one
PARTS = (1.0, 0.5, 0.25)  # of the way to a new weight, the whole way first


@dataclass(frozen=True)
class _HeldOut:
    """Those of one batch. wanted: (B, T, d) the original's last residual sums. weights: (B, T), 0 at padding."""

    inputs: dict[str, torch.Tensor]
    wanted: torch.Tensor
    weights: torch.Tensor


class _Calls(ResidualSums):
    """Adds every call of one readout to a fit of the texts that are fitted to and one of those held out."""

    def __init__(self, norm_first: bool, readout: Readout, layers: Sequence[int]):
        super().__init__(norm_first)
        self.place, self.layers = (readout.kind, readout.row), layers
        has_bias = readout.bias is not None
        self.fitted, self.held_out = Fit(has_bias), Fit(has_bias)
        self.text: CalibrationBatch

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        if (readout.kind, readout.row) == self.place:
            there = (readout.kind, self.layers[self.layer])
            wanted, weights = self.text.sums[there] - self.residual, self.text.weights[there]
            for fit, chosen in ((self.fitted, ~self.text.held_out), (self.held_out, self.text.held_out)):
                tokens = self.text.real & chosen[:, None]
                fit.add(inputs[tokens], wanted[tokens], weights[tokens])
        super().wrote(readout, inputs, output)


@torch.no_grad()
def fit_all_calls(
    original: Encoder,
    plan: Plan,
    calibration: Calibration,
    transfer: bool = False,
    progress: Progress | None = None,
) -> tuple[Encoder, list[float]]:
    """(the original after a plan, each readout fitted to all its calls; the held-out error at first and after each
    round, as a share of the square of what the original's last layer has there).

    The given encoder stays as it is. Encoders whose layers share nothing are taken, too; for them `refit` is faster.
    Raises: UserError where plan or calibration do not belong to the encoder; Cancelled.
    """
    check_fits(original, calibration, shared=True)
    smaller, progress = prune(original, plan, transfer), progress or Progress()
    norm_first = modeling.architecture_of(smaller.model).norm_first
    if not plan.layers:
        return smaller, []
    apart = _held_out(calibration, plan.layers[-1])
    total = sum(float((one.wanted.square().sum(-1) * one.weights).sum()) for one in apart)

    def error() -> float:
        probe, missed = ResidualSums(norm_first), 0.0
        for one in apart:
            progress.check()
            with probing(probe):
                smaller.model.base_model(**one.inputs)
            off = (probe.sums["ffn", len(plan.layers) - 1] - one.wanted).square().sum(-1)
            missed += float((off * one.weights).sum())
        return missed / max(total, 1e-30)

    errors = [error()]
    steps = ROUNDS * len(smaller.readouts) * len(calibration.texts)
    for turn in range(ROUNDS if errors[0] > ROUNDING else 0):
        least = errors[-1]
        for number, readout in enumerate(smaller.readouts):
            calls = _Calls(norm_first, readout, plan.layers)
            for batch, text in enumerate(calibration.texts):
                done = (turn * len(smaller.readouts) + number) * len(calibration.texts) + batch
                progress.step(done, steps, "fitting shared readouts", REPAIRING)
                calls.text = text
                with probing(calls):
                    smaller.model.base_model(**text.batch.inputs)
            start = solution_of(readout.linear).clone()
            found = _solved(start, calls.fitted, calls.held_out)
            for part in PARTS if found is not None else ():
                assert found is not None
                set_weight(readout.linear, start + part * (found - start))
                reached = error()
                if reached < least:
                    least = reached
                    break
                set_weight(readout.linear, start)
        errors.append(least)
        if least > (1 - LEAST_GAIN) * errors[-2]:
            break
    progress.step(steps, steps, "fitting shared readouts", REPAIRING)
    return smaller, errors


def _held_out(calibration: Calibration, last: int) -> list[_HeldOut]:
    found = []
    for text in calibration.texts:
        rows = text.held_out
        if bool(rows.any()):
            inputs = {name: values[rows] for name, values in text.batch.inputs.items()}
            weights = text.weights["ffn", last][rows] * text.real[rows]
            found.append(_HeldOut(inputs, text.sums["ffn", last][rows], weights))
    return found


def _solved(start: torch.Tensor, fitted: Fit, held_out: Fit) -> torch.Tensor | None:
    """The scaled or refitted weight of least held-out error; None where the old one has less."""
    if not (fitted.rows and held_out.rows and len(start)):
        return None
    found = [fitted.scale(start), *(fitted.ridge(start, strength) for strength in RIDGES)]
    best = min(found, key=held_out.error)
    return best if held_out.error(best) < held_out.error(start) else None


def _repaired(
    original: Encoder, plan: Plan, calibration: Calibration, options: RepairOptions, progress: Progress
) -> Encoder:
    return fit_all_calls(original, plan, calibration, options.transfer, progress)[0]


REPAIR = Repair(
    "shared-weights",
    "readouts fitted to all layers that run on them",
    "For encoders whose layers share weights (ALBERT): each readout is fitted to all of its layers at once, in rounds.",
    _repaired,
    shared=True,
)
