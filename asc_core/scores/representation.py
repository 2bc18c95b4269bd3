"""How much a part changes the representation of the data: scores that need no labels.

ASC (Application Specific Compression, arXiv 2409.05368) compares whole hidden states; block influence (ShortGPT) and
its form for sublayers (What Matters in Transformers, 2406.15786) compare what a part reads with what it leaves behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from asc_core.parts import BLOCKS_OF, KINDS
from asc_core.scores.collector import Collector, Tally
from asc_core.scores.method import Found, FromStatistics, Means, each_part, statistics
from asc_core.scores.streaming import Statistic

if TYPE_CHECKING:
    from asc_core.probes import Readout
    from asc_core.scores.collector import BatchView, ReadoutWeights
    from asc_core.values import Shape


def change(
    squared_norm: torch.Tensor, along: torch.Tensor, squared_update: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(1 - cos(x, x + c), ||c|| / ||x||) from ||x||^2, x.c and ||c||^2.

    A neuron turns x by so little that 1 - cos taken literally is rounding error in float32. The sine is not:
    1 - cos = sin^2 / (1 + cos), and sin^2 = (||x||^2 ||c||^2 - (x.c)^2) / (||x||^2 ||x + c||^2).
    """
    tiny = torch.finfo(squared_norm.dtype).tiny
    after = torch.add(squared_update, along, alpha=2).add_(squared_norm).clamp_min_(tiny)
    scale = after.mul_(squared_norm).clamp_min_(tiny)
    sine2 = (squared_norm * squared_update).sub_(along.square()).div_(scale).clamp_min_(0)
    cosine = scale.rsqrt_().mul_(squared_norm + along).clamp_(-1, 1)
    turned = torch.where(cosine > 0, sine2.div_(cosine.clamp_min(0).add_(1)), 1 - cosine)
    return turned, (squared_update / squared_norm.clamp_min(tiny)).sqrt_()


class Updates(Collector):
    """1 - cos and relative norm of what layers, sublayers (all tokens), heads and neurons (sampled tokens) add.

    A sublayer's, head's or neuron's x is the residual stream that it adds to; a sublayer adds its readout's output
    with the bias, a head W_h x_h, a neuron x_j W_j. A layer compares its input with its output.
    """

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.tally = Tally()
        self._residual: torch.Tensor
        self._attention_wrote: torch.Tensor

    @torch.no_grad()
    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        self._residual = hidden

    @torch.no_grad()
    def feed(self, inputs: torch.Tensor) -> None:
        self._residual = self._residual + self._attention_wrote if self.weights.norm_first else inputs

    @torch.no_grad()
    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        if readout.kind == "attention":
            self._attention_wrote = output
        self._whole(readout.kind, readout.row, self._residual, output)
        self._blocks(readout, inputs)

    @torch.no_grad()
    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self._whole("layers", layer, before, after - before)

    def _whole(self, kind: str, place: int, residual: torch.Tensor, update: torch.Tensor) -> None:
        along, squared = torch.linalg.vecdot(residual, update), torch.linalg.vecdot(update, update)
        self._add(kind, place, self.view.sum_tokens, change(self.view.squared_norm(residual), along, squared))

    def _blocks(self, readout: Readout, inputs: torch.Tensor) -> None:
        residual = self.view.sampled(self._residual)  # (rows, K, d)
        x = self.view.sampled(inputs)  # (rows, K, blocks * width)
        along = (residual @ readout.weight) * x
        if readout.width > 1:
            x = x.unflatten(-1, (readout.blocks, readout.width))
            along = along.view_as(x).sum(-1)
            # (heads, tokens, d_h) @ (heads, d_h, d_h)
            per_head = x.flatten(0, 1).transpose(0, 1)
            squared = torch.linalg.vecdot(per_head @ self.weights.grams[readout.row], per_head).T.view_as(along)
        else:
            squared = x.square() * self.weights.squared_columns[readout.kind, readout.row]
        norm = torch.linalg.vecdot(residual, residual).unsqueeze(-1)
        kind = BLOCKS_OF[readout.kind]
        self._add(kind, readout.row, self.view.sum_sample, change(norm, along, squared.clamp_min(0)))

    def _add(self, kind: str, place: int, total: object, values: tuple[torch.Tensor, torch.Tensor]) -> None:
        assert callable(total)
        self.tally.add(f"update.{kind}", place, total(values[0]))
        self.tally.add(f"update-norm.{kind}", place, total(values[1]))

    def statistics(self) -> dict[str, Statistic]:
        return {
            f"{method}.{kind}": Statistic(self.tally.mean(f"{method}.{kind}"), "token", kind != "neurons")
            for method in ("update", "update-norm")
            for kind in KINDS
        }


class States(Collector):
    """What both variants of ASC's similarity matrix are made of.

    State 0 is what the first layer reads (the embeddings), state k what layer k (1-based) hands on.
    asc-a: the sum of each state over tokens. asc-b: mean over tokens of the cosine of every two states. angular: the
    angle over pi of every two states of the last token that is not padding.
    """

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self._unit: torch.Tensor  # (rows, L+1, T, d) states of length 1, 0 at padding
        self._sums: list[torch.Tensor] = []
        self._ends: list[torch.Tensor] = []  # (rows, d) of the last token
        self._last: torch.Tensor
        self._real = view.mask.float()
        places = torch.arange(view.mask.shape[1], device=view.mask.device)
        self._end = (view.mask * places).argmax(1), torch.arange(len(view.mask), device=view.mask.device)

    @torch.no_grad()
    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        if layer == 0:
            rows, tokens, width = hidden.shape
            self._unit = hidden.new_empty(rows, self.weights.layers + 1, tokens, width)
        self._keep(hidden)

    @torch.no_grad()
    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self._last = after

    def _keep(self, hidden: torch.Tensor) -> None:
        state = len(self._sums)
        self._sums.append((self._real[:, None, :] @ hidden)[:, 0])
        self._ends.append(hidden[self._end[1], self._end[0]])
        length = self.view.squared_norm(hidden).sqrt().clamp_min(torch.finfo(hidden.dtype).tiny)
        torch.mul(hidden, (self._real / length)[..., None], out=self._unit[:, state])

    @torch.no_grad()
    def statistics(self) -> dict[str, Statistic]:
        self._keep(self._last)
        states = self._unit.flatten(2)
        # The sum over tokens of all cosines is one product of these; with padding at 0 it needs no mask.
        cosines = (states @ states.mT) / self.view.tokens[:, None, None]
        sums = torch.stack(self._sums, 1)
        return {
            "asc-a": Statistic(self.view.per_feature(sums.flatten(1)), "token"),
            "asc-b": Statistic(self.view.per_feature(cosines.flatten(1)), "text"),
            "angular": Statistic(self.view.per_feature(angles(torch.stack(self._ends, 1)).flatten(1)), "text"),
        }


def angles(states: torch.Tensor) -> torch.Tensor:
    """(rows, states, d) -> (rows, states, states) the angle between every two states, over pi.

    In double precision, on the CPU: near 1 the arc cosine of a float32 has four digits less than the cosine.
    """
    exact = torch.nn.functional.normalize(states.cpu().double(), dim=-1)
    return (exact @ exact.mT).clamp(-1, 1).arccos() / torch.pi


def similarity_of_sums(sums: np.ndarray, states: int) -> np.ndarray:
    """Variant A: (..., states * d) -> (..., states, states) cosines of the summed hidden states."""
    vectors = sums.reshape(*sums.shape[:-1], states, -1)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    return vectors @ np.swapaxes(vectors, -1, -2)


def similarity_of_tokens(cosines: np.ndarray, states: int) -> np.ndarray:
    """Variant B: (..., states * states) -> (..., states, states)."""
    return cosines.reshape(*cosines.shape[:-1], states, states)


def similarity_of_angles(distances: np.ndarray, states: int) -> np.ndarray:
    """(..., states * states) angular distances -> (..., states, states)."""
    return 1 - distances.reshape(*distances.shape[:-1], states, states)


def change_by_layer(similarity: np.ndarray) -> np.ndarray:
    """(..., L+1, L+1) -> (..., L): 1 - similarity of each layer's output to what it read."""
    return 1 - np.diagonal(similarity, offset=1, axis1=-2, axis2=-1)


def _similarity(variant: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[Means, Shape], Found]:
    def combine(means: Means, shape: Shape) -> Found:
        similarity = variant(next(iter(means.values())), shape.layers + 1)
        return {"similarity": similarity, "layers": change_by_layer(similarity)}

    return combine


_ASC = "Application Specific Compression, arXiv 2409.05368"

METHODS = (
    FromStatistics(
        id="asc-a",
        title="ASC similarity A",
        description="Cosine of the hidden states summed over all tokens, between every two layers. A layer's score is "
        "1 minus the similarity of its output to its input.",
        source=f"{_ASC}, the authors' code of 2024",
        parts=("layers",),
        collector=States,
        statistics={"asc-a": "token"},
        combine=_similarity(similarity_of_sums),
    ),
    FromStatistics(
        id="asc-b",
        title="ASC similarity B",
        description="Mean over examples of the mean over tokens of the cosine of hidden states, between every two "
        "layers. A layer's score is 1 minus the similarity of its output to its input.",
        source=f"{_ASC}, the authors' code of 2026",
        parts=("layers",),
        collector=States,
        statistics={"asc-b": "text"},
        combine=_similarity(similarity_of_tokens),
        offered=5,
    ),
    FromStatistics(
        id="update",
        title="Update (1 - cos)",
        description="How far a part turns the residual stream: 1 - cos(x, x + what it adds), mean over tokens; for a "
        "layer its output against its input (block influence). Heads and neurons on a sample of the tokens.",
        source="ShortGPT, arXiv 2403.03853; sublayers: What Matters in Transformers, arXiv 2406.15786",
        collector=Updates,
        statistics=statistics("update", "token"),
        combine=each_part,
        offered=4,
    ),
    FromStatistics(
        id="update-norm",
        title="Relative norm of the update",
        description="The length of what a part adds to the residual stream over the length of what it adds to, mean "
        "over tokens. Heads and neurons on a sample of the tokens.",
        source="as `update`, with the magnitude that a cosine ignores",
        collector=Updates,
        statistics=statistics("update-norm", "token"),
        combine=each_part,
    ),
    FromStatistics(
        id="angular",
        title="Angular distance",
        description="The angle between hidden states of a text's last token over pi, mean over texts, for every two "
        "layers (similarity: 1 minus it; n layers apart in the n-th diagonal). A layer's score is that of its output "
        "and its input.",
        source="The Unreasonable Ineffectiveness of the Deeper Layers, Gromov et al. 2024, arXiv 2403.17887, eq. 7",
        parts=("layers",),
        collector=States,
        statistics={"angular": "text"},
        combine=_similarity(similarity_of_angles),
    ),
)
