"""Multiply parts of an encoder during a forward pass: a plan's effect without surgery, on any attention kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from asc_core.errors import UserError
from asc_core.probes import Probe, Readout, probing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.values import Plan


def apply_gate(inputs: torch.Tensor, gate: torch.Tensor, width: int) -> torch.Tensor:
    """inputs: (B, T, blocks * width). gate: (blocks,), or (B, blocks) for one gate an example."""
    columns = gate.repeat_interleave(width, dim=-1) if width > 1 else gate
    return inputs * (columns if gate.dim() == 1 else columns[:, None, :])


class Gates(Probe):
    """Gates for readouts, and layers that are bypassed (output := input).

    gates: (kind, row) -> gate, see `apply_gate`; a readout without an entry is left alone.
    """

    def __init__(self, gates: Mapping[tuple[str, int], torch.Tensor], bypassed: frozenset[int] = frozenset()):
        self.gates = gates
        self.bypassed = bypassed

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        gate = self.gates.get((readout.kind, readout.row))
        return None if gate is None else apply_gate(inputs, gate, readout.width)

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor | None:
        return before if layer in self.bypassed else None


def plan_gates(encoder: Encoder, plan: Plan) -> Gates:
    """Gates that are 1 for what a plan keeps and 0 for the rest."""
    if plan.shape != encoder.shape:
        raise UserError(f"The plan is for {plan.shape}; this encoder is {encoder.shape}.")
    gates = {}
    for readout in encoder.readouts:
        kept = (plan.heads if readout.kind == "attention" else plan.neurons)[readout.row]
        if len(kept) < readout.blocks:
            gate = torch.zeros(readout.blocks, device=encoder.device)
            gate[list(kept)] = 1.0
            gates[readout.kind, readout.row] = gate
    return Gates(gates, frozenset(range(plan.shape.layers)) - set(plan.layers))


@contextmanager
def gated(encoder: Encoder, plan: Plan) -> Iterator[None]:
    """Inside the `with`, forward passes of this thread behave as if the plan had been cut."""
    with probing(plan_gates(encoder, plan)):
        yield
