"""Knowledge reconstruction: each readout's kept columns by plain least squares, bottom-up.

K-prune (Park et al. 2024, arXiv 2308.03449, knowledge-preserving weight-tuning): after a sublayer is pruned, the
weights of its second linear are solved for so that the sublayer's output with the residual matches the original's, on
what the pruned model delivers; its bias stays. No ridge, every token alike: this is the published method, `refit` is
ours. The mask search that goes with it is in `kprune`.
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
from asc_core.values import Plan

INDEPENDENT = 1e-10


@torch.no_grad()
def reconstruct(
    original: Encoder,
    plan: Plan,
    calibration: Calibration,
    transfer: bool = False,
    progress: Progress | None = None,
) -> Encoder:
    """The original after a plan, each readout's weight solved for on all calibration texts.

    Raises: UserError where layers share their weights, or plan or calibration do not belong to the encoder; Cancelled.
    """
    check_fits(original, calibration)
    smaller = prune(original, plan, transfer)
    for site in bottom_up(smaller, plan.layers, calibration, progress or Progress(), "reconstructing"):
        fit, bias = Fit(bias=False), site.readout.bias
        for seen in site.seen:
            tokens = seen.text.real
            wanted = seen.wanted[tokens] if bias is None else seen.wanted[tokens] - bias
            fit.add(seen.inputs[tokens], wanted, torch.ones(len(wanted), device=wanted.device))
        site.set_weight(least_squares(fit.moments, fit.cross))
    return smaller


def least_squares(moments: torch.Tensor, cross: torch.Tensor) -> torch.Tensor:
    """(columns, d) W with moments W = cross; of several, where inputs depend on one another, a basic one.

    moments: (columns, columns) A^T A. cross: (columns, d) A^T B.
    """
    if not len(moments):
        return cross
    gram, towards = moments.double(), cross.double()
    factor, failed = torch.linalg.cholesky_ex(gram)
    apart = factor.diagonal().square() / gram.diagonal().clamp_min(1e-300)  # of each column, from those before it
    if not int(failed) and float(apart.min()) > INDEPENDENT:
        return torch.cholesky_solve(towards, factor).to(cross.dtype)
    return torch.linalg.lstsq(gram, towards, rcond=INDEPENDENT).solution.to(cross.dtype)


def _repaired(
    original: Encoder, plan: Plan, calibration: Calibration, options: RepairOptions, progress: Progress
) -> Encoder:
    return reconstruct(original, plan, calibration, options.transfer, progress)


REPAIR = Repair(
    "reconstruction",
    "readouts reconstructed by least squares",
    "Each readout's weights that stay are solved for by plain least squares, bottom-up (K-prune).",
    _repaired,
    source="K-prune, Park et al. 2024, arXiv 2308.03449",
)
