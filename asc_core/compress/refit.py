"""Repair of a cut without training: the readouts' remaining columns and biases take over what the removed ones wrote.

Bottom-up, layer by layer (sequential), each readout is fitted by ridge regression on what the cut model itself delivers
to it, towards the residual sum that the original has there; so it also makes up for errors from below. K-prune (Park et
al. 2023, arXiv 2308.03449, section 4.3) does so sublayer by sublayer while it prunes; here the plan is given, the
ridge is chosen by held-out texts for each readout, and each layer runs on cached hidden states. Or all at once
(one-shot) on the original's inputs: faster, and worse where much is cut, since cut layers below do not deliver those.

On the way up the norm behind each readout is re-estimated, too (see `norms`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import torch

from asc_core import modeling
from asc_core.compress.bottom_up import ReadoutBatch, RefitSite, bottom_up, check_fits
from asc_core.compress.calibration import Calibration
from asc_core.compress.fit import Fit
from asc_core.compress.half_precision import ROUNDING
from asc_core.compress.norms import TOKENS, NormFit
from asc_core.compress.prune import prune
from asc_core.compress.repair import Repair, RepairOptions
from asc_core.compress.solutions import set_weight, solution_of
from asc_core.encoder import Encoder
from asc_core.probes import Readout
from asc_core.progress import REPAIRING, Progress
from asc_core.values import Plan

Mode = Literal["sequential", "one-shot"]
MODES: tuple[str, ...] = get_args(Mode)
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean of the second moments' diagonal


@dataclass(frozen=True)
class ReadoutRepair:
    """What was done to one readout. kept: "untouched", "scaled" or "refit", whichever had the least held-out error.

    before, after: held-out squared error of the residual sum, as a share of the square of what was to be written.
    ridge: of "refit". norm: whether the norm behind it was re-estimated.
    """

    kind: str
    layer: int
    kept: str
    before: float
    after: float
    ridge: float | None = None
    norm: bool = False


@torch.no_grad()
def refit(
    original: Encoder,
    plan: Plan,
    calibration: Calibration,
    mode: Mode = "sequential",
    transfer: bool = False,
    progress: Progress | None = None,
    norms: bool = True,
) -> tuple[Encoder, list[ReadoutRepair]]:
    """(the original after a plan, its readouts refitted; what was done to each). The given encoder stays as it is.

    calibration: of the original; with `moments` for the one-shot mode. transfer: see `prune`. norms: whether those
    behind sequentially refitted readouts are re-estimated. Held-out error decides between refit, scaled and untouched
    for every readout, and for every norm, so that on the calibration's held-out texts none of them gets worse.
    Raises: UserError where layers share their weights, or plan or calibration do not belong to the encoder; Cancelled.
    """
    check_fits(original, calibration)
    smaller = prune(original, plan, transfer)
    progress = progress or Progress()
    if mode == "one-shot":
        return smaller, _one_shot(smaller, original, plan, calibration, progress)
    return smaller, _sequential(smaller, original, plan, calibration, norms, progress)


def _sequential(
    smaller: Encoder, original: Encoder, plan: Plan, calibration: Calibration, norms: bool, progress: Progress
) -> list[ReadoutRepair]:
    repairs = []
    stride = max(1, calibration.tokens // TOKENS)  # batches are of one length each: every so many are of all lengths
    for site in bottom_up(smaller, plan.layers, calibration, progress, "refitting"):
        has_bias = site.readout.bias is not None
        fitted, held_out = Fit(has_bias), Fit(has_bias)
        sample = []  # for the norm
        for number, seen in enumerate(site.seen):
            weights = seen.text.weights[site.place]
            for fit, chosen in ((fitted, ~seen.text.held_out), (held_out, seen.text.held_out)):
                tokens = seen.text.real & chosen[:, None]
                fit.add(seen.inputs[tokens], seen.wanted[tokens], weights[tokens])
            if norms and number % stride == 0:
                sample.append(seen)
        solution, done = best_solution(site.readout, fitted, held_out, site.layer)
        site.set_weight(solution)
        repairs.append(replace(done, norm=done.before >= ROUNDING and _renormed(site, original, sample)))
    return repairs


def _renormed(site: RefitSite, original: Encoder, sample: Sequence[ReadoutBatch]) -> bool:
    """Whether re-estimating the norm behind a readout that was repaired helps; then it is done."""
    kind, layer = site.place
    before = modeling.norm_behind(
        modeling.architecture_of(original.model), modeling.rows_of(original.model)[layer], kind
    )
    if site.norm is None or before is None or not sample:
        return False
    fit = NormFit(site.norm, before)
    for seen in sample:
        wanted, weights = seen.text.sums[site.place], seen.text.weights[site.place]
        sums = wanted - seen.wanted + site.readout.linear(seen.inputs)
        held_out = seen.text.held_out[:, None].expand_as(weights)
        fit.add(sums.flatten(0, 1), wanted.flatten(0, 1), weights.flatten(), held_out.flatten())
    found = fit.best()
    if found is not None:
        site.set_norm(*found)
    return found is not None


def _one_shot(
    smaller: Encoder, original: Encoder, plan: Plan, calibration: Calibration, progress: Progress
) -> list[ReadoutRepair]:
    assert calibration.moments is not None, "a one-shot refit needs a calibration with moments"
    whole = {(readout.kind, readout.row): readout for readout in original.readouts}
    repairs = []
    for number, readout in enumerate(smaller.readouts):
        progress.step(number, len(smaller.readouts), "refitting", REPAIRING)
        row = plan.layers[number // 2]
        blocks = plan.heads[row] if readout.kind == "attention" else plan.neurons[row]
        dense = whole[readout.kind, row].linear
        columns = torch.tensor(blocks, dtype=torch.long)[:, None] * readout.width + torch.arange(readout.width)
        constant = [] if modeling.bias(dense) is None else [modeling.columns_of(dense)]
        kept = torch.cat([columns.flatten(), torch.tensor(constant, dtype=torch.long)])
        fitted, held_out = calibration.moments.fits((readout.kind, row), kept)
        solution, done = best_solution(readout, fitted, held_out, number // 2, hurry=True)
        set_weight(readout.linear, solution)
        repairs.append(done)
    progress.step(len(smaller.readouts), len(smaller.readouts), "refitting", REPAIRING)
    return repairs


def best_solution(
    readout: Readout, fitted: Fit, held_out: Fit, layer: int, hurry: bool = False
) -> tuple[torch.Tensor, ReadoutRepair]:
    """The best of untouched, scaled and refit for a readout, by held-out error: (columns, d).

    The ridge is chosen on `held_out`; the correction that is used is then fitted to all texts. hurry: try stronger
    ridges only for as long as they get better.
    """
    start = solution_of(readout.linear)
    before = least = held_out.error(start)
    total, kept, ridge = max(held_out.square, 1e-30), "untouched", None
    if not (held_out.rows and fitted.rows and len(start)) or before < ROUNDING * total:
        return start, ReadoutRepair(readout.kind, layer, kept, before / total, before / total)
    error = held_out.error(fitted.scale(start))
    if error < least:
        least, kept = error, "scaled"
    for strength in RIDGES:
        before_it, error = error, held_out.error(fitted.ridge(start, strength))
        if error < least:
            least, kept, ridge = error, "refit", strength
        if hurry and strength > RIDGES[0] and error > before_it:
            break
    both = fitted + held_out
    solution = start
    if kept == "scaled":
        solution = both.scale(start)
    elif ridge is not None:
        solution = both.ridge(start, ridge)
    return solution, ReadoutRepair(readout.kind, layer, kept, before / total, least / total, ridge)


def _repaired(
    mode: Mode, original: Encoder, plan: Plan, calibration: Calibration, options: RepairOptions, progress: Progress
) -> Encoder:
    return refit(original, plan, calibration, mode, options.transfer, progress, options.norms)[0]


def _quickly(
    original: Encoder, plan: Plan, calibration: Calibration, options: RepairOptions, progress: Progress
) -> tuple[Encoder, str]:
    mode: Mode = "sequential" if calibration.moments is None else "one-shot"
    found = _repaired(mode, original, plan, calibration, options, progress)
    return found, f"repaired ({mode}) on {calibration.tokens:,} tokens"


SEQUENTIAL = Repair(
    "sequential",
    "readouts refitted (sequential)",
    "The readouts' weights that stay are fitted again, bottom-up, on what the cut model itself delivers to each.",
    partial(_repaired, "sequential"),
    norms=True,
    upward=True,
    quick=_quickly,
)
ONE_SHOT = Repair(
    "one-shot",
    "readouts refitted (one-shot)",
    "The same for all readouts at once, on the original's inputs: fastest, and worse where much is cut.",
    partial(_repaired, "one-shot"),
    moments=True,
    upward=True,
)
