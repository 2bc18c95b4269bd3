"""How long a repaired cut and its evaluation will take on this machine, before any of it starts.

Each is so many times the calibration tokens' way through the uncut layers, at the pace that this machine showed with a
model of this width. How many times was counted in processor seconds of one thread on two applications of the demo (see
`FORWARDS_OF_CALIBRATION`): of their size within a quarter; larger encoders were not tried. To be shown as a forecast.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.evaluate.latency import random_texts, seconds_of_pass
from asc_core.evaluate.throughput import layer_parameters, throughput_of

FORWARDS_OF_CALIBRATION = 5.0  # forward and backward of the original, sums, judging how many tokens are enough
FORWARDS_OF_REPAIR = 4.0  # times the share of the FLOPs that is kept: forward, sums, systems, norms
PROBE_TEXTS, PROBE_TOKENS, PROBE_SECONDS = 8, 64, 0.3


@dataclass(frozen=True)
class SecondsAhead:
    """calibrating: once for all cuts of an application, 0 where that was done. repairing, evaluating: one cut."""

    calibrating: float
    repairing: float
    evaluating: float

    @property
    def total(self) -> float:
        return self.calibrating + self.repairing + self.evaluating


def pace_of(encoder: Encoder) -> float:
    """Seconds for one token and one parameter of the layers: as evaluations went, else of a few passes made now."""
    known = throughput_of(encoder)
    if known is not None:
        return known.seconds_per_work
    texts = random_texts(np.full(PROBE_TEXTS, PROBE_TOKENS), int(encoder.model.config.vocab_size), seed=0)
    end, least = time.perf_counter() + PROBE_SECONDS, float("inf")
    with torch.inference_mode():
        seconds_of_pass(encoder, texts)  # the very first is slower than all others
        while least == float("inf") or time.perf_counter() < end:
            least = min(least, seconds_of_pass(encoder, texts))
    return least / (PROBE_TEXTS * PROBE_TOKENS * layer_parameters(encoder))


def seconds_ahead(
    encoder: Encoder, kept: float, calibration_tokens: int, evaluated_tokens: float, pace: float, calibrated: bool
) -> SecondsAhead:
    """Of one cut with the sequential repair.

    encoder: the uncut model. kept: share of its FLOPs. calibration_tokens: that the repair is fitted to.
    evaluated_tokens: of all texts that it is measured on. pace: see `pace_of`. calibrated: whether the calibration is
    there.
    """
    forward = pace * layer_parameters(encoder) * calibration_tokens
    return SecondsAhead(
        0.0 if calibrated else FORWARDS_OF_CALIBRATION * forward,
        FORWARDS_OF_REPAIR * kept * forward,
        pace * layer_parameters(encoder) * evaluated_tokens * kept,
    )
