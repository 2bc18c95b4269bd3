"""A pass over texts, batch by batch: what collectors see of each, with one backward pass for each loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from asc_core.encoder import Encoder
from asc_core.probes import probing
from asc_core.scores.attention import reveal_attention
from asc_core.scores.collector import (
    SAMPLED_FEATURES,
    TOKEN_SHARE,
    BatchView,
    Collector,
    Differentiable,
    Observer,
    ReadoutWeights,
)
from asc_core.scores.streaming import Sums, replicate_weights
from asc_core.tasks.base import Batch, Examples, Features, Targets, Task


@dataclass
class SweepPass:
    """Everything that stays the same from batch to batch."""

    encoder: Encoder
    task: Task
    examples: Examples
    collectors: list[type[Collector]]
    targets: Targets
    seed: int
    token_share: float = TOKEN_SHARE

    def __post_init__(self) -> None:
        self.encoder = frozen(self.encoder)
        self.features: Features = self.task.features(self.examples, self.encoder)
        self.weights = ReadoutWeights(self.encoder)
        self.differentiates = any(issubclass(c, Differentiable) for c in self.collectors)
        first = np.searchsorted(self.features.example, self.features.example)
        self._observer = Observer(())
        if any(c.reads_attention for c in self.collectors):
            reveal_attention(self.encoder, lambda row, found: self._observer.attended(row, found))
        drawn = np.random.default_rng((self.seed, 3)).permutation(len(self.features))[:SAMPLED_FEATURES]
        self._sample_places = np.full(len(self.features), -1)
        self._sample_places[drawn] = np.arange(len(drawn))
        self._window = np.arange(len(self.features)) - first

    def _generator(self, rows: np.ndarray) -> torch.Generator:
        """For labels drawn from the model's own distribution: the same ones when a batch is repeated after a kill."""
        seed = np.random.default_rng((self.seed, *rows)).integers(1 << 62)
        return torch.Generator().manual_seed(int(seed))

    def add(self, rows: np.ndarray, sums: Sums) -> None:
        """One batch of features, into the sums."""
        view, collectors = self.observe(rows)
        numbers = self.examples.numbers[self.features.example[rows]]
        with torch.inference_mode():
            statistics = {name: s for c in collectors for name, s in c.statistics().items()}
        sums.add(statistics, view.units, replicate_weights(self.seed, numbers))

    def observe(self, rows: np.ndarray) -> tuple[BatchView, list[Collector]]:
        """What the collectors have seen of a batch: one forward pass, and one backward pass for each loss."""
        batch = self.task.batch(self.features, rows, self.encoder)
        numbers = self.examples.numbers[self.features.example[rows]]
        draws = [(self.seed, int(n), int(w)) for n, w in zip(numbers, self._window[rows], strict=True)]
        view = BatchView(batch, draws, self.token_share, self._sample_places[rows])
        collectors = [make(view, self.weights) for make in self.collectors]
        with torch.enable_grad() if self.differentiates else torch.inference_mode():
            self._observer = Observer(collectors)
            with probing(self._observer):
                output = self.encoder.model(**batch.inputs)
            if self.differentiates:
                self._backward(collectors, output, batch, rows)
        return view, collectors

    def _backward(self, collectors: Sequence[Collector], output: Any, batch: Batch, rows: np.ndarray) -> None:
        """One pass for each loss, to those collectors that want it."""
        differentiable = [c for c in collectors if isinstance(c, Differentiable)]
        listeners: dict[Any, list[Differentiable]] = {}
        for collector in differentiable:
            listeners.setdefault(type(collector).own_loss or collector.targets or self.targets, []).append(collector)
        for number, (wanted, group) in enumerate(listeners.items(), start=1):
            generator = self._generator(rows)
            if callable(wanted):
                loss = wanted(output, batch, generator)
            else:
                loss = self.task.loss(output, batch, wanted, generator).sum()
            for collector in group:
                collector.listening = True
            assert group[0].source is not None
            torch.autograd.grad(loss, [group[0].source], retain_graph=number < len(listeners))
            for collector in group:
                collector.listening = False
        for collector in differentiable:
            collector.source = None


def frozen(encoder: Encoder) -> Encoder:
    """The same encoder on the same storage, no weight of which asks for a gradient.

    The one we were given stays as it is: someone may be training it, or sweeping it in another thread.
    """
    shared: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in encoder.model.parameters()}
    shared |= {id(b): b for b in encoder.model.buffers()}
    return encoder.with_model(copy.deepcopy(encoder.model, shared))
