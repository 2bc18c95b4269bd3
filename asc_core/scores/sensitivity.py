"""How much the loss feels a part: gradients of gates, one for each example, from a single backward pass.

A gate that multiplies a block of a readout's input has, for example b, the gradient sum over tokens and the block's
columns of x * dL_b/dx. With the sum of the examples' losses as the loss, one backward pass gives all of them: no loop
over examples, no gradient of a weight.
"""

from __future__ import annotations

import torch

from asc_core.probes import Readout
from asc_core.scores.collector import KIND_OF_BLOCK, BatchView, Collector, ReadoutWeights, Tally
from asc_core.scores.streaming import Statistic

PARTS = ("heads", "neurons", "attention", "ffn", "layers")


class GateGradients(Collector):
    """Gate gradients of heads, neurons, sublayers and layers, for `fisher` and `michel`.

    The gate of a sublayer multiplies its readout's whole input; that of a layer what it changes, so that 0 is the
    bypass. Where layers share weights, a row has one gate for all its calls: gradients add up before they are squared.
    """

    differentiates = True

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.tally = Tally()
        self.source: torch.Tensor | None = None  # where the graph begins: the input of the first readout

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        if self.source is None:
            self.source = inputs = inputs.detach().requires_grad_()
        seen = inputs.detach()
        inputs.register_hook(lambda gradient: self._block(readout, seen * gradient))
        return inputs if inputs is self.source else None

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        seen, was = after.detach(), before.detach()
        after.register_hook(lambda gradient: self._layer(layer, (seen - was) * gradient))

    @torch.no_grad()
    def _block(self, readout: Readout, product: torch.Tensor) -> None:
        if readout.kind == "attention":
            per_token = product.unflatten(-1, (readout.blocks, readout.width)).sum(-1)  # (rows, T, heads)
            self.tally.add("per-token.heads", readout.row, self.view.per_feature(per_token.abs().sum(1)))
            gradients = per_token.sum(1)
        else:
            gradients = product.sum(1)
        gradients = self.view.per_feature(gradients)
        self.tally.add(KIND_OF_BLOCK[readout.kind], readout.row, gradients)
        self.tally.add(readout.kind, readout.row, gradients.sum(1, keepdim=True))

    @torch.no_grad()
    def _layer(self, layer: int, product: torch.Tensor) -> None:
        self.tally.add("layers", layer, self.view.per_feature(product.sum((1, 2))[:, None]))

    def statistics(self) -> dict[str, Statistic]:
        self.source = None  # its hook refers back to us: the cycle would keep memory until garbage is collected
        found = {"michel-token.heads": Statistic(self.tally.total("per-token.heads"), "token")}
        for kind in PARTS:
            gradients = self.tally.total(kind)
            found[f"michel.{kind}"] = Statistic(gradients.abs(), "feature", kind != "neurons")
            found[f"fisher.{kind}"] = Statistic(gradients.square(), "feature", kind != "neurons")
        return found
