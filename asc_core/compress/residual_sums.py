"""Probes that follow the residual stream past an encoder's readouts."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from asc_core.probes import Probe, Readout, ReadoutKey


class ResidualSums(Probe):
    """sums, inputs: (kind, layer) -> the residual stream after a readout has written, and what the readout read.

    residual: the stream as it is now. until: raise `Reached` instead of running this readout. known: what readouts are
    made to read, whatever reaches them.
    """

    def __init__(
        self, norm_first: bool, until: ReadoutKey | None = None, known: Mapping[ReadoutKey, torch.Tensor] | None = None
    ):
        self.norm_first, self.until, self.known = norm_first, until, known or {}
        self.sums: dict[ReadoutKey, torch.Tensor] = {}
        self.inputs: dict[ReadoutKey, torch.Tensor] = {}
        self.residual: torch.Tensor
        self._at = -1

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        self.residual, self._at = hidden, layer

    def feed(self, inputs: torch.Tensor) -> None:
        if not self.norm_first:
            self.residual = inputs

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        place = (readout.kind, self._at)
        known = self.known.get(place)
        self.inputs[place] = inputs if known is None else known
        if place == self.until:
            raise Reached
        return known

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        self.residual = self.residual + output
        self.sums[readout.kind, self._at] = self.residual

    def release(self) -> None:
        """Let go of what was seen. A graph's hooks refer to the probe: until garbage is collected, the cycle would keep
        a batch's activations, and those of many batches fill the memory."""
        self.sums, self.inputs = {}, {}
        del self.residual


class OutputGradientNorms(ResidualSums):
    """gradients: (kind, layer) -> (B, T) squared norm of the gradient at a readout's output, once it has flown back.

    source: where the graph begins.
    """

    def __init__(self, norm_first: bool):
        super().__init__(norm_first)
        self.gradients: dict[ReadoutKey, torch.Tensor] = {}
        self.source: torch.Tensor

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        super().read(readout, inputs)
        if inputs.requires_grad:
            return None
        self.source = inputs.detach().requires_grad_()
        return self.source

    def release(self) -> None:
        super().release()
        del self.source

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        super().wrote(readout, inputs, output)
        place = (readout.kind, self._at)
        output.register_hook(lambda gradient: self.gradients.__setitem__(place, gradient.detach().square().sum(-1)))


class Reached(Exception):
    """The rest of the pass is not needed."""
