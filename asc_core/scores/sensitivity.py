"""How much the loss feels a part: gradients of gates, one for each example, from a single backward pass.

A gate that multiplies a block of a readout's input has, for example b, the gradient sum over tokens and the block's
columns of x * dL_b/dx. With the sum of the examples' losses as the loss, one backward pass gives all of them: no loop
over examples, no gradient of a weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from asc_core.parts import BLOCKS, BLOCKS_OF, KINDS
from asc_core.probes import Readout
from asc_core.scores.collector import BatchView, Differentiable, ReadoutWeights, Tally
from asc_core.scores.method import Found, FromStatistics, Means, absolute, each_part, half, statistics
from asc_core.scores.streaming import Statistic
from asc_core.values import Shape


def random_projection(output: Any, mask: torch.Tensor, draw: Callable[[int, torch.Size], torch.Tensor]) -> torch.Tensor:
    """Inner product of the model's outputs with random numbers, as a loss: its gradient's second moments are J^T J.

    output: what the model returned; its logits count, less their mean, or where there are none the last hidden states.
    mask: (B, T); outputs of padding do not count. draw: (number of the output, its shape) -> standard normal numbers.
    It needs no labels, and unlike in the gradient of a loss, texts that the model is sure of matter as well.
    """
    named = {name: value for name, value in output.items() if "logits" in name}
    total = mask.new_zeros((), dtype=torch.float32)
    for number, (name, value) in enumerate((named or {"states": output.last_hidden_state}).items()):
        noise = draw(number, value.shape).to(value.device) / value.shape[-1] ** 0.5
        if value.shape[-1] > 1:  # what moves all logits alike decides nothing
            noise = noise - noise.mean(-1, keepdim=True)
        if value.dim() == 3:
            noise = noise * mask[..., None]
        elif name in ("start_logits", "end_logits"):  # one for each token
            noise = noise * mask
        total = total + (value * noise).sum()
    return total


class GateGradients(Differentiable):
    """Gate gradients of heads, neurons, sublayers and layers, for every score of the loss that the sweep was asked for.

    The gate of a sublayer multiplies its readout's whole input; that of a layer what it changes, so that 0 is the
    bypass. Where layers share weights, a row has one gate for all its calls: gradients add up before they are squared.

    Statistics of the gradients g, one an example: "michel" |g|, "fisher" g^2, "gradient" g, "taylor2" g^2 / 2 - g, and
    "cross.heads", (heads, heads) g_i g_j of all heads of the encoder.

    Summed over a data set, a gate's gradient is also what TextPruner computes from gradients of weights: the sum of
    W * dL/dW over the block of the readout's weight. For a linear readout, dL/dW[i, j] is the sum over tokens of
    dL/dy_i x_j, hence the sum over i and the block's j of W[i, j] dL/dW[i, j] is that over tokens and j of
    x_j (W^T dL/dy)_j = x_j dL/dx_j: no gradient of a weight is needed.
    """

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.tally = Tally()

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        inputs, begins = self.in_graph(inputs)
        seen = inputs.detach()
        inputs.register_hook(lambda gradient: self._block(readout, seen, gradient))
        return inputs if begins else None

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        seen, was = after.detach(), before.detach()
        after.register_hook(lambda gradient: self._layer(layer, seen, was, gradient))

    @torch.no_grad()
    def _block(self, readout: Readout, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        if not self.listening:
            return
        product = inputs * gradient
        if readout.kind == "attention":
            per_token = product.unflatten(-1, (readout.blocks, readout.width)).sum(-1)  # (rows, T, heads)
            self.tally.add("per-token.heads", readout.row, self.view.per_feature(per_token.abs().sum(1)))
            gradients = per_token.sum(1)
        else:
            gradients = product.sum(1)
        gradients = self.view.per_feature(gradients)
        self.tally.add(BLOCKS_OF[readout.kind], readout.row, gradients)
        self.tally.add(readout.kind, readout.row, gradients.sum(1, keepdim=True))

    @torch.no_grad()
    def _layer(self, layer: int, after: torch.Tensor, before: torch.Tensor, gradient: torch.Tensor) -> None:
        if self.listening:
            self.tally.add("layers", layer, self.view.per_feature(((after - before) * gradient).sum((1, 2))[:, None]))

    def statistics(self) -> dict[str, Statistic]:
        found = {"michel-token.heads": Statistic(self.tally.total("per-token.heads"), "token")}
        for kind in KINDS:
            g = self.tally.total(kind)
            for name, values in (
                ("michel", g.abs()),
                ("fisher", g.square()),
                ("gradient", g),
                ("taylor2", g.square() / 2 - g),
            ):
                found[f"{name}.{kind}"] = Statistic(values, "feature", kind != "neurons")
        heads = self.tally.total("heads")
        return found | {"cross.heads": Statistic(heads.T @ heads, "feature", whole=True)}


class SampledGateGradients(GateGradients):
    """Squares of gate gradients of the loss against labels that are drawn from the model's own distribution."""

    targets = "sampled"

    def statistics(self) -> dict[str, Statistic]:
        return {
            f"fisher-sampled.{kind}": Statistic(self.tally.total(kind).square(), "feature", kind != "neurons")
            for kind in KINDS
        }


class ArgmaxGateGradients(GateGradients):
    """Gate gradients of the loss against the model's own decisions.

    With labels drawn from the model's own distribution, the gradient's mean would be 0 by construction.
    """

    targets = "argmax"

    def statistics(self) -> dict[str, Statistic]:
        return {
            f"gradient-argmax.{kind}": Statistic(self.tally.total(kind), "feature", kind != "neurons") for kind in KINDS
        }


class NeuronCrossTerms(GateGradients):
    """Mean of g_i g_j over examples for the neurons of each row: (neurons, neurons), 75 MB for 3,072 of them."""

    def statistics(self) -> dict[str, Statistic]:
        found = {"fisher-by-name.neurons": Statistic(self.tally.total("neurons").square(), "feature", False)}
        for row, g in enumerate(self.tally.by_place("neurons")):
            found[f"cross.neurons.{row}"] = Statistic(g.T @ g, "feature", whole=True)
        return found


def _normalised_by_layer(means: Means, shape: Shape) -> Found:
    """Each row's scores divided by their L2 norm."""
    scores = each_part(means, shape)
    for part in BLOCKS:
        if part in scores:
            rows = np.split(scores[part], np.cumsum(getattr(shape, part))[:-1], axis=-1)
            tiny = np.finfo(np.float64).tiny
            rows = [r / np.maximum(np.linalg.norm(r, axis=-1, keepdims=True), tiny) for r in rows]
            scores[part] = np.concatenate(rows, -1)
    return scores


METHODS = (
    FromStatistics(
        id="michel",
        title="Michel sensitivity",
        description="Mean over examples of |dL/dm|, m a gate on the part; not normalised by layer.",
        source="Michel et al. 2019, arXiv 1905.10650, equation 3",
        labels="gold or own",
        collector=GateGradients,
        statistics=statistics("michel", "feature"),
        combine=each_part,
        offered=2,  # the first without a repair: benchmarks/results/trust.md
    ),
    FromStatistics(
        id="michel-normalised",
        title="Michel sensitivity, by layer",
        description="As `michel` for heads and neurons, each layer's scores divided by their L2 norm.",
        source="Michel et al. 2019, arXiv 1905.10650, section 4.1",
        labels="gold or own",
        parts=BLOCKS,
        collector=GateGradients,
        statistics=statistics("michel", "feature", BLOCKS),
        combine=_normalised_by_layer,
    ),
    FromStatistics(
        id="michel-token",
        title="Michel sensitivity, by token",
        description="The absolute value taken for each token instead of each example, mean over tokens, as the "
        "authors' code does; heads only, not normalised by layer.",
        source="Michel et al. 2019, the authors' code",
        labels="gold or own",
        parts=("heads",),
        collector=GateGradients,
        statistics={"michel-token.heads": "token"},
        combine=each_part,
    ),
    FromStatistics(
        id="fisher",
        title="Fisher information",
        description="Mean over examples of (dL/dm)^2, m a gate on the part, the gradient of each example by itself "
        "(the authors' code squares means over batches). Details: cross.heads, (heads, heads), the mean of g_i g_j for "
        "all heads of the encoder, row by row.",
        source="Kwon et al. 2022, arXiv 2204.09656",
        labels="gold or own",
        collector=GateGradients,
        statistics=statistics("fisher", "feature"),
        combine=each_part,
        details={"cross.heads": "feature"},
        one_scale=True,
        offered=3,
    ),
    FromStatistics(
        id="taylor2",
        title="Taylor, second order",
        description="What the loss is expected to rise by when the part's gate g goes from 1 to 0: -dL/dg + 1/2 "
        "(dL/dg)^2, mean over examples, with the Fisher information in place of the second derivative. Below 0: "
        "expected to do harm.",
        source="Optimal Brain Damage, LeCun et al. 1989; Molchanov et al. 2019, arXiv 1906.10771, equation 6, signed",
        labels="gold or own",
        collector=GateGradients,
        statistics=statistics("taylor2", "feature"),
        combine=each_part,
        negative=True,
    ),
    FromStatistics(
        id="textpruner",
        title="TextPruner, loss",
        description="|sum of W * dL/dW over the part's columns of the readout's weight W|, summed over all examples, "
        "as a mean (the package takes the absolute value batch by batch). Computed without gradients of weights.",
        source="TextPruner, Yang et al. 2022, arXiv 2203.15996",
        labels="gold or own",
        collector=GateGradients,
        statistics=statistics("gradient", "feature"),
        combine=absolute,
        signed=each_part,
    ),
    FromStatistics(
        id="textpruner-self",
        title="TextPruner, own labels",
        description="As `textpruner`, with the loss against the model's own decisions (argmax). Against its soft "
        "outputs, as the package has it, the gradient of an unpruned model is 0, and so is the mean against labels "
        "drawn from them.",
        source="TextPruner, Yang et al. 2022, arXiv 2203.15996, section 3.2",
        labels="own",
        collector=ArgmaxGateGradients,
        statistics=statistics("gradient-argmax", "feature"),
        combine=absolute,
        signed=each_part,
        asked="in all",
    ),
    FromStatistics(
        id="kprune-predictive",
        title="K-prune, predictive knowledge",
        description="1/2 mean of (dL/dm)^2, m a gate on the part, L the loss against labels drawn from the model's own "
        "distribution: the second order of the divergence from the original model's outputs. (Against the soft outputs "
        "themselves, as in the paper, the gradient of an unpruned model is 0.) Temperature 1.",
        source="K-prune, Park et al. 2023, arXiv 2308.03449, section 4.2",
        labels="own",
        collector=SampledGateGradients,
        statistics=statistics("fisher-sampled", "feature"),
        combine=half,
        asked="in all",
    ),
    FromStatistics(
        id="fisher-neuron-cross",
        title="Fisher information, cross terms of neurons",
        description="As `fisher` for neurons. Details: cross.neurons.<row>, (neurons, neurons), the mean of g_i g_j. "
        "Large: computed only when named.",
        source="Kwon et al. 2022, arXiv 2204.09656, section 3.2",
        labels="gold or own",
        parts=("neurons",),
        collector=NeuronCrossTerms,
        statistics={"fisher-by-name.neurons": "feature"},
        combine=each_part,
        details={"cross.neurons": "feature"},
        asked="by name",
    ),
)
