"""Mask tuning: one number for each kept head and neuron, layer by layer, by least squares.

Kwon et al. 2022 (A Fast Post-Training Pruning Framework for Transformers, arXiv 2204.09656, section 4.3 and appendix):
from the bottom up, argmin over m of ||x + layer(x; m) - (x' + layer(x'; 1))||^2, x of the pruned model and x' of the
original. With m = 1 + r it is solved for r from 0 with a damping of 1; where an m leaves [-10, 10] that layer's are
discarded and the tuning ends. Solved here in closed form from the second moments of the readout's inputs, where the
authors run LSMR; the numbers are folded into the readout's columns, so what comes out is an ordinary cut model. As in
the authors' code, the last FFN is fitted to the first token alone where nothing else of it is read. Their code puts
a model pruned half as far in the original's place, leaves the first attention as it is, and fits an intercept beside
the other attentions' masks that it then drops; the paper, followed here, does none of this. Their damping is another
one, too, of the normal equations: ||A^T A r - A^T (b - A 1)||^2 + ||r||^2.
"""

from __future__ import annotations

import torch

from asc_core.compress.bottom_up import bottom_up, check_fits
from asc_core.compress.calibration import Calibration
from asc_core.compress.fit import Fit
from asc_core.compress.prune import prune
from asc_core.compress.repair import Repair, RepairOptions
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.scores.first_token import reads_first_token_only
from asc_core.scores.restart import Restartable
from asc_core.values import Plan

DAMPING = 1.0
FARTHEST = 10.0


@torch.no_grad()
def tune_masks(
    original: Encoder,
    plan: Plan,
    calibration: Calibration,
    transfer: bool = False,
    progress: Progress | None = None,
) -> tuple[Encoder, list[torch.Tensor]]:
    """(the original after a plan, its readouts' blocks scaled; the (blocks,) scales of each readout that was tuned).

    calibration: of the original; all its texts are fitted to, every token alike.
    Raises: UserError where layers share their weights, or plan or calibration do not belong to the encoder; Cancelled.
    """
    check_fits(original, calibration)
    smaller = prune(original, plan, transfer)
    inputs = calibration.texts[0].batch.inputs
    first_token_only = reads_first_token_only(_recorded(smaller, inputs), inputs)
    tuned: list[torch.Tensor] = []
    for site in bottom_up(smaller, plan.layers, calibration, progress or Progress(), "tuning masks"):
        weight, bias = site.readout.weight, site.readout.bias
        last = site.readout is smaller.readouts[-1]
        fit = Fit(bias=False)
        for seen in site.seen:
            tokens = seen.text.real.clone()
            if last and first_token_only:
                tokens[:, 1:] = False
            wanted = seen.wanted[tokens] if bias is None else seen.wanted[tokens] - bias
            fit.add(seen.inputs[tokens], wanted, torch.ones(len(wanted), device=wanted.device))
        scales = block_scales(fit, weight.T, site.readout.blocks)
        if bool((scales.abs() > FARTHEST).any()):
            break
        site.set_weight(weight.T * scales.repeat_interleave(site.readout.width)[:, None])
        tuned.append(scales)
    return smaller, tuned


def block_scales(fit: Fit, weight: torch.Tensor, blocks: int) -> torch.Tensor:
    """(blocks,) the m = 1 + r that minimises ||A m - b||^2 + DAMPING ||r||^2; column k of A is what block k writes.

    fit: of a readout's inputs, (columns,) without a 1, towards b. weight: (columns, d), the readout's, transposed.
    """
    if not blocks:
        return weight.new_ones(0)

    def by_block(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, (blocks, -1)).sum(1)

    weight = weight.double()
    gram = by_block(by_block(fit.moments.double() * (weight @ weight.T)).T)
    towards = by_block((fit.cross.double() * weight).sum(1))
    damped = gram + DAMPING * torch.eye(blocks, dtype=gram.dtype, device=gram.device)
    return (1 + torch.linalg.solve(damped, towards - gram.sum(1))).to(fit.cross.dtype)


def _recorded(encoder: Encoder, inputs: dict[str, torch.Tensor]) -> Restartable:
    runner = Restartable(encoder)
    runner.record(inputs)
    return runner


def _repaired(
    original: Encoder, plan: Plan, calibration: Calibration, options: RepairOptions, progress: Progress
) -> Encoder:
    return tune_masks(original, plan, calibration, options.transfer, progress)[0]


REPAIR = Repair(
    "mask-tuning",
    "masks tuned layer by layer",
    "One number for each part that stays, layer by layer, by least squares (Kwon).",
    _repaired,
    source="Kwon et al. 2022, arXiv 2204.09656",
)
