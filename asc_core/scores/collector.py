"""What all collectors share: one batch on its way through the encoder, and tallies of what is seen there."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from asc_core import modeling
from asc_core.probes import Probe, Readout
from asc_core.scores.streaming import Statistic

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Batch, Targets

TOKEN_SHARE = 1 / 16
MIN_TOKENS = 2
SAMPLED_FEATURES = 256  # that a collector may keep something of, one by one


class BatchView:
    """One batch as collectors see it: which tokens are real, and a sample of them for what is too dear for all.

    mask: (rows, T) bool. sample: (rows, K) positions of sampled tokens; sample_weight: (rows, K) how many tokens each
    stands for, 0 where a short text has fewer than K.
    """

    def __init__(
        self,
        batch: Batch,
        draws: Sequence[tuple[int, ...]],
        token_share: float = TOKEN_SHARE,
        sample_places: np.ndarray | None = None,
    ):
        """draws: one seed a feature, so that a text's sample does not depend on the batch that it is in.

        sample_places: (features,) each feature's place in a sample of `SAMPLED_FEATURES` of all, -1 outside of it.
        """
        self.mask = batch.mask.bool()
        self.rows_per_feature = batch.rows_per_feature
        self.tokens = self.mask.sum(1)
        self.sample_places = np.full(len(draws), -1) if sample_places is None else sample_places
        self._draws, self._share = draws, token_share
        self._last: tuple[weakref.ref[torch.Tensor], torch.Tensor] | None = None

    @cached_property
    def units(self) -> dict[str, np.ndarray]:
        """(features,) tokens, texts and features, the denominators of statistics."""
        tokens = self.tokens.cpu().numpy().reshape(-1, self.rows_per_feature).sum(1)
        return {
            "token": tokens,
            "text": np.full(len(tokens), self.rows_per_feature),
            "feature": np.ones(len(tokens), dtype=np.int64),
        }

    @cached_property
    def _sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        chosen, weights = [], []
        for row, real in enumerate(self.mask.cpu().numpy()):
            positions = np.flatnonzero(real)
            count = min(len(positions), max(MIN_TOKENS, int(np.ceil(self._share * len(positions)))))
            if count < len(positions):
                seed = (*self._draws[row // self.rows_per_feature], row % self.rows_per_feature, 1)
                positions = np.sort(np.random.default_rng(seed).permutation(positions)[:count])
            chosen.append(positions)
            weights.append(real.sum() / max(count, 1))
        longest = max(map(len, chosen))
        sample, weight = np.zeros((len(chosen), longest), dtype=np.int64), np.zeros((len(chosen), longest), np.float32)
        for row, positions in enumerate(chosen):
            sample[row, : len(positions)], weight[row, : len(positions)] = positions, weights[row]
        return torch.from_numpy(sample).to(self.mask.device), torch.from_numpy(weight).to(self.mask.device)

    @property
    def sample_weight(self) -> torch.Tensor:
        return self._sample[1]

    @cached_property
    def _flat_sample(self) -> torch.Tensor:
        rows, length = self.mask.shape
        start = torch.arange(rows, device=self.mask.device)[:, None] * length
        return (start + self._sample[0]).flatten()

    def sampled(self, states: torch.Tensor) -> torch.Tensor:
        """(rows, T, n) -> (rows, K, n) at the sampled tokens."""
        return states.flatten(0, 1).index_select(0, self._flat_sample).unflatten(0, self.sample_weight.shape)

    def per_feature(self, rows: torch.Tensor) -> torch.Tensor:
        """(rows, n) -> (features, n), summed over the rows of a feature."""
        return rows if self.rows_per_feature == 1 else rows.view(-1, self.rows_per_feature, rows.shape[-1]).sum(1)

    def sum_tokens(self, values: torch.Tensor) -> torch.Tensor:
        """(rows, T) -> (features, 1), padding left out whatever it holds."""
        return self.per_feature(values.masked_fill(~self.mask, 0).sum(1, keepdim=True))

    def sum_sample(self, values: torch.Tensor) -> torch.Tensor:
        """(rows, K, n) -> (features, n): an estimate of the sum over all tokens."""
        return self.per_feature((self.sample_weight[:, None, :] @ values)[:, 0])

    def squared_norm(self, states: torch.Tensor) -> torch.Tensor:
        """(rows, T, d) -> (rows, T). Several collectors ask for that of the same hidden states.

        These are held weakly: a graph's hooks refer to collectors, collectors to this, and a cycle through the graph is
        one that no garbage collection sees.
        """
        if self._last is None or self._last[0]() is not states:
            self._last = (weakref.ref(states), torch.linalg.vecdot(states, states))
        return self._last[1]


class ReadoutWeights:
    """Constants of an encoder's readouts, computed once a sweep. grams: attention only."""

    def __init__(self, encoder: Encoder):
        self.layers = encoder.shape.layers
        self.norm_first = modeling.architecture_of(encoder.model).norm_first
        self.squared_columns: dict[tuple[str, int], torch.Tensor] = {}  # (columns,) ||W[:, j]||^2
        self.grams: dict[int, torch.Tensor] = {}  # (heads, d_h, d_h) W_h^T W_h
        for readout in encoder.readouts:
            weight = readout.weight.detach()
            self.squared_columns[readout.kind, readout.row] = weight.square().sum(0)
            if readout.kind == "attention":
                blocks = weight.view(weight.shape[0], readout.blocks, readout.width).permute(1, 2, 0)
                self.grams[readout.row] = blocks @ blocks.mT


class Tally:
    """Numbers per feature and part, added up over the calls of a row (several where layers share weights)."""

    def __init__(self) -> None:
        self._values: dict[str, dict[int, torch.Tensor]] = {}
        self._calls: dict[tuple[str, int], int] = {}

    def add(self, name: str, place: int, values: torch.Tensor) -> None:
        """values: (features, parts). place: the row or layer."""
        places = self._values.setdefault(name, {})
        places[place] = places[place] + values if place in places else values
        self._calls[name, place] = self._calls.get((name, place), 0) + 1

    def total(self, name: str) -> torch.Tensor:
        """(features, parts of all rows)"""
        return torch.cat(self.by_place(name), 1)

    def by_place(self, name: str) -> list[torch.Tensor]:
        """(features, parts) of each row or layer."""
        places = self._values[name]
        return [places[place] for place in sorted(places)]

    def mean(self, name: str) -> torch.Tensor:
        """As `total`, divided by the number of calls."""
        places = self._values[name]
        return torch.cat([places[place] / self._calls[name, place] for place in sorted(places)], 1)


class Collector(Probe):
    """Turns what flows by during one forward (and backward) into statistics of each feature of the batch.

    One instance a batch. reads_attention: whether it needs attention probabilities. targets: the labels of the loss
    that it looks at, where they are not for the user to choose.
    """

    targets: Targets | None = None
    reads_attention = False

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        self.view = view
        self.weights = weights

    def attended(self, row: int, probabilities: torch.Tensor) -> None:
        """Where `reads_attention`: attention probabilities, (rows, heads, T, T), padding of the queries included."""

    def statistics(self) -> dict[str, Statistic]:
        """After the pass; names are unique over all collectors, such as "update.heads"."""
        raise NotImplementedError


class Differentiable(Collector):
    """A collector that needs gradients: those of the task's loss against `targets`, or of a loss of its own.

    own_loss: (the model's output, the batch, a generator for what is drawn) -> a scalar, instead of the task's.
    listening: whether the loss that flows back now is this collector's; several may flow back through one graph.
    source: where the graph begins, at the input of the first readout; let go of after the pass, because hooks on the
    graph refer to the collector.
    """

    own_loss: ClassVar[staticmethod[[Any, Batch, torch.Generator], torch.Tensor] | None] = None

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.source: torch.Tensor | None = None
        self.listening = False

    def in_graph(self, inputs: torch.Tensor) -> tuple[torch.Tensor, bool]:
        """(a readout's input as part of the graph, whether the graph begins with it and it has to replace the other).

        To be called by every `read`.
        """
        begins = self.source is None and not inputs.requires_grad  # else another collector has begun the graph
        if begins:
            inputs = inputs.detach().requires_grad_()
        if self.source is None:
            self.source = inputs
        return inputs, begins


class Observer(Probe):
    """Several collectors on one pass."""

    def __init__(self, collectors: Iterable[Collector]):
        self.collectors = list(collectors)

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        for collector in self.collectors:
            collector.enter(layer, hidden)

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        for collector in self.collectors:
            collector.leave(layer, before, after)

    def feed(self, inputs: torch.Tensor) -> None:
        for collector in self.collectors:
            collector.feed(inputs)

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        replaced = None
        for collector in self.collectors:
            result = collector.read(readout, inputs if replaced is None else replaced)
            replaced = replaced if result is None else result
        return replaced

    def attended(self, row: int, probabilities: torch.Tensor) -> None:
        for collector in self.collectors:
            collector.attended(row, probabilities)

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        for collector in self.collectors:
            collector.wrote(readout, inputs, output)
