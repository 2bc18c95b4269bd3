"""Bias repair: what a removed part wrote on average goes into the readout's bias.

FLAP (An et al. 2024, arXiv 2312.11983, section 3.3, "baseline bias compensation"), with the means of the original's own
inputs. Where a readout has no bias (ModernBERT) it stays as it is: a cut does not add parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from asc_core.compress.bottom_up import check_fits
from asc_core.compress.calibration import Calibration
from asc_core.compress.prune import prune
from asc_core.compress.repair import Repair, RepairOptions
from asc_core.compress.solutions import set_weight, solution_of
from asc_core.encoder import Encoder
from asc_core.probes import Probe, Readout, ReadoutKey, probing
from asc_core.progress import Progress
from asc_core.values import Plan


@dataclass(frozen=True)
class Columns:
    """Over the calibration's tokens, padding left out. means, variances: (kind, row) of a readout -> (columns,)."""

    means: Mapping[ReadoutKey, torch.Tensor]
    variances: Mapping[ReadoutKey, torch.Tensor]


class _Sums(Probe):
    """(2, columns) sums of each readout's inputs and of their squares, float64, and over how many tokens.

    Where layers share weights a readout reads every token once a layer.
    """

    def __init__(self) -> None:
        self.sums: dict[ReadoutKey, torch.Tensor] = {}
        self.tokens: dict[ReadoutKey, int] = {}
        self.real: torch.Tensor

    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        rows = inputs[self.real]
        both = torch.stack([rows.sum(0), rows.square().sum(0)]).double()
        place = (readout.kind, readout.row)
        self.sums[place] = self.sums[place] + both if place in self.sums else both
        self.tokens[place] = self.tokens.get(place, 0) + len(rows)


@torch.no_grad()
def columns_of(encoder: Encoder, calibration: Calibration, progress: Progress | None = None) -> Columns:
    """Means and variances of every readout's input, from one pass. Raises: Cancelled."""
    probe, progress = _Sums(), progress or Progress()
    for number, text in enumerate(calibration.texts):
        progress.step(number, len(calibration.texts), "averaging inputs")
        probe.real = text.real
        with probing(probe):
            encoder.model(**text.batch.inputs)
    means = {place: both[0] / probe.tokens[place] for place, both in probe.sums.items()}
    squares = {place: both[1] / probe.tokens[place] for place, both in probe.sums.items()}
    return Columns(means, {place: (squares[place] - means[place].square()).clamp_min(0) for place in means})


@torch.no_grad()
def fold_means(
    original: Encoder,
    plan: Plan,
    calibration: Calibration,
    transfer: bool = False,
    progress: Progress | None = None,
    columns: Columns | None = None,
) -> Encoder:
    """The original after a plan, the mean of what each removed head and neuron wrote added to its readout's bias.

    columns: of `columns_of`, where they are known already.
    Raises: UserError where layers share their weights, or plan or calibration do not belong to the encoder; Cancelled.
    """
    check_fits(original, calibration)
    smaller = prune(original, plan, transfer)
    columns = columns or columns_of(original, calibration, progress)
    whole = {(readout.kind, readout.row): readout for readout in original.readouts}
    for number, readout in enumerate(smaller.readouts):
        place = (readout.kind, plan.layers[number // 2])
        solution = solution_of(readout.linear).clone()
        if len(solution) == readout.columns:
            continue  # no bias
        gone = torch.ones(whole[place].blocks, dtype=torch.bool)
        gone[list((plan.heads if readout.kind == "attention" else plan.neurons)[place[1]])] = False
        means = columns.means[place] * gone.repeat_interleave(readout.width).to(original.device)
        solution[-1] += (whole[place].weight.double() @ means).to(solution.dtype)
        set_weight(readout.linear, solution)
    return smaller


def _repaired(
    original: Encoder, plan: Plan, calibration: Calibration, options: RepairOptions, progress: Progress
) -> Encoder:
    return fold_means(original, plan, calibration, options.transfer, progress)


REPAIR = Repair(
    "bias",
    "means folded into biases",
    "What went wrote on average goes into the biases (FLAP).",
    _repaired,
    source="FLAP, An et al. 2024, arXiv 2312.11983",
    upward=True,
)
