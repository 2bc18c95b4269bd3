"""Cuts and error sums that several tests of repairs use."""

from __future__ import annotations

import torch

from asc_core import modeling
from asc_core.compress.calibration import Calibration
from asc_core.compress.residual_sums import ResidualSums
from asc_core.encoder import Encoder
from asc_core.probes import probing
from asc_core.values import Plan


def half(encoder: Encoder, layers: tuple[int, ...] | None = None) -> Plan:
    """Every other head and neuron."""
    shape = encoder.shape
    return Plan(
        shape,
        tuple(tuple(range(0, n, 2)) for n in shape.heads),
        tuple(tuple(range(0, n, 2)) for n in shape.neurons),
        layers or tuple(range(shape.layers)),
    )


def everything_seen(
    encoder: Encoder, calibration: Calibration, kind: str, layer: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens, columns) what a readout reads and (tokens, d) the residual stream after it, by whole passes."""
    probe, inputs, sums = ResidualSums(modeling.architecture_of(encoder.model).norm_first), [], []
    for text in calibration.texts:
        with torch.no_grad(), probing(probe):
            encoder.model(**text.batch.inputs)
        inputs.append(probe.inputs[kind, layer][text.real])
        sums.append(probe.sums[kind, layer][text.real])
    return torch.cat(inputs), torch.cat(sums)


def wanted_sums(calibration: Calibration, kind: str, layer: int) -> torch.Tensor:
    """(tokens, d) the original's residual stream after a readout."""
    return torch.cat([text.sums[kind, layer][text.real] for text in calibration.texts])
