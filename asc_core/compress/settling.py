"""How many tokens a refit needs on an application: judged once, on one cut, for all others.

A regression on n tokens is worse than one on all there are by about its columns / n, and by more where few tokens count
for much. So while a calibration grows, half of the encoder is cut and refitted on what is there, and the error that is
left at the end of the encoder is looked at on texts that no refit saw; once twice as many tokens hardly make it less,
more are of no use. Which half is cut has nothing to do with any score, so that the answer is the application's.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from asc_core import modeling
from asc_core.compress.calibration import Calibration
from asc_core.compress.refit import refit
from asc_core.compress.residual_sums import ResidualSums
from asc_core.encoder import Encoder
from asc_core.probes import probing
from asc_core.progress import Progress
from asc_core.values import Plan, Shape

JUDGING_SLICES = 2  # the texts that no refit sees
HARDLY_LESS = 0.2  # of the error: what doubling the tokens must win


class Settling:
    """Asked after each slice of one growing calibration. error: of the last refit that was judged."""

    def __init__(self) -> None:
        self.error: float | None = None

    @torch.no_grad()
    def settled(self, original: Encoder, calibration: Calibration, progress: Progress | None = None) -> bool:
        """Whether the tokens of this calibration are enough. Raises: Cancelled."""
        if len(calibration.slices) <= JUDGING_SLICES:
            return False
        apart = calibration.slices[JUDGING_SLICES - 1]
        judging = replace(calibration, texts=calibration.texts[:apart])
        fitted_to = replace(calibration, texts=calibration.texts[apart:], moments=None)
        repaired, _ = refit(original, every_second(original.shape), fitted_to, transfer=True, progress=progress)
        before, self.error = self.error, error_at_the_end(repaired, judging)
        return before is not None and before - self.error < HARDLY_LESS * before


def every_second(shape: Shape) -> Plan:
    """Every second head and neuron of each layer."""
    return replace(
        Plan.full(shape),
        heads=tuple(tuple(range(0, count, 2)) for count in shape.heads),
        neurons=tuple(tuple(range(0, count, 2)) for count in shape.neurons),
    )


def error_at_the_end(repaired: Encoder, calibration: Calibration) -> float:
    """Weighted squared error of the last residual sum, as a share of the square of what the original has there.

    repaired: with all layers of the calibration's original.
    """
    norm_first = modeling.architecture_of(repaired.model).norm_first
    place = ("ffn", repaired.shape.layers - 1)
    error = square = 0.0
    for text in calibration.texts:
        probe = ResidualSums(norm_first)
        with probing(probe):
            repaired.model(**text.batch.inputs)
        weights, wanted = text.weights[place], text.sums[place]
        error += float(((probe.sums[place] - wanted).square().sum(-1) * weights).sum())
        square += float((wanted.square().sum(-1) * weights).sum())
        probe.release()
    return error / max(square, 1e-30)
