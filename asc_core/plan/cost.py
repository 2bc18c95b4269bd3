"""What a plan costs: parameters, FLOPs at the task's lengths, bytes, and time where a machine's was measured.

Everything is in whole numbers (FLOPs as the sum over the task's texts, time in nanoseconds), so that a budget is
compared without rounding and the same plan always costs the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from asc_core.errors import UserError
from asc_core.modeling import PartCounts
from asc_core.plan.latency import LatencyTable
from asc_core.values import Cost, Plan, Shape

Counted = Literal["flops", "parameters", "bytes"]
Budget = Literal["flops", "parameters", "bytes", "latency"]
COUNTED: tuple[str, ...] = get_args(Counted)
BUDGETS: tuple[str, ...] = get_args(Budget)


@dataclass(frozen=True)
class UnitCosts:
    """What one more head or neuron of each row costs, in exact whole units of one budget, and what stays anyway."""

    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    fixed: int


@dataclass(frozen=True)
class WidthCosts:
    """What each row costs by its width, in whole units of one budget, and what stays anyway.

    heads: for each row, (its heads + 1,) int64, the cost of keeping 0, 1, 2, ... of them. neurons: the same.
    """

    heads: tuple[np.ndarray, ...]
    neurons: tuple[np.ndarray, ...]
    fixed: int


@dataclass(frozen=True, eq=False)
class CostModel:
    """The cost of every plan for one encoder on one task's lengths.

    counts: what each part weighs, see `PartCounts`.
    lengths: (texts,), tokens of each text without padding, after truncation.
    bytes_per_parameter: as the layers' weights will lie in a file.
    latency: a machine's layer times; without it there is no budget of latency.
    layer_lengths: for each layer, the tokens of texts that it runs on, where those are not all; empty = all.

    Raises: UserError if `lengths` is empty or has a text without tokens; ValueError if the rows or the latency table
    do not fit the shape.
    """

    shape: Shape
    counts: PartCounts
    lengths: np.ndarray
    bytes_per_parameter: int = 4
    latency: LatencyTable | None = None
    layer_lengths: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        rows, layers = len(self.shape.heads), self.shape.layers
        for name in ("head", "neuron", "layer", "head_macs", "neuron_macs", "layer_macs", "span"):
            wanted = layers if name == "span" else rows
            if len(getattr(self.counts, name)) != wanted:
                raise ValueError(f"{name} needs {wanted} numbers, not {len(getattr(self.counts, name))}")
        if self.latency is not None:
            ends = self.latency.heads[-1], self.latency.neurons[-1]
            if ends[0] < max(self.shape.heads) or ends[1] < max(self.shape.neurons):
                raise ValueError(f"the latency table ends at {ends[0]} heads and {ends[1]} neurons: {self.shape}")
        lengths = np.asarray(self.lengths)
        if lengths.ndim != 1 or lengths.size == 0 or lengths.min() < 1:
            raise UserError("FLOPs are counted at the lengths of the task's texts: give at least one text, none empty.")
        object.__setattr__(self, "lengths", lengths.astype(np.int64))

    @cached_property
    def _head_totals(self) -> tuple[int, ...]:
        """FLOPs of one head of each layer, summed over all texts: see `modeling.layer_flops`."""
        totals = []
        for row, window, lengths in zip(self.shape.rows, self.counts.span, self._lengths, strict=True):
            tokens = int(lengths.sum())
            seen = lengths if window is None else np.minimum(lengths, window)
            # The projections of relative positions are the same for every text, so they are nobody's cost for one text.
            pairs = int((lengths * seen).sum()) + 2 * tokens * self.counts.relative_span
            totals.append(2 * (tokens * self.counts.head_macs[row] + pairs * self.counts.attention_macs))
        return tuple(totals)

    @cached_property
    def _lengths(self) -> tuple[np.ndarray, ...]:
        """For each layer, the tokens of each text that it runs on."""
        return self.layer_lengths or (self.lengths,) * self.shape.layers

    def _layer_totals(self, macs: tuple[int, ...]) -> tuple[int, ...]:
        """FLOPs of each layer, summed over all texts, of so many multiply-adds of its row for a token."""
        by_layer = zip(self.shape.rows, self._lengths, strict=True)
        return tuple(2 * int(lengths.sum()) * macs[row] for row, lengths in by_layer)

    def unit_costs(self, budget: str, layers: np.ndarray | None = None) -> UnitCosts:
        """Exact costs of single parts, given which layers run.

        budget: flops (in FLOPs summed over all texts), parameters or bytes. layers: (layers,) bool, None = all.
        A part of a row that no running layer uses costs nothing. Raises: UserError for an unknown budget; ValueError
        for latency, where one more part costs now this and now that.
        """
        self.check_budget(budget)
        if budget not in COUNTED:
            raise ValueError(f"{budget} is no multiple of the number of parts: see `width_costs`")
        running = range(self.shape.layers) if layers is None else np.flatnonzero(layers).tolist()
        counts, rows = self.counts, len(self.shape.heads)
        if budget == "flops":
            neuron, fixed = self._layer_totals(counts.neuron_macs), self._layer_totals(counts.layer_macs)
            summed_heads, summed_neurons, rest = [0] * rows, [0] * rows, 0
            for layer in running:
                row = self.shape.rows[layer]
                summed_heads[row] += self._head_totals[layer]
                summed_neurons[row] += neuron[layer]
                rest += fixed[layer]
            return UnitCosts(tuple(summed_heads), tuple(summed_neurons), rest)
        used = {self.shape.rows[layer] for layer in running}
        heads, neurons, fixed, rest = counts.head, counts.neuron, counts.layer, counts.outside_layers
        if budget == "bytes":
            heads = self._bytes(counts.head, counts.head_bytes)
            neurons = self._bytes(counts.neuron, counts.neuron_bytes)
            fixed, rest = self._bytes(counts.layer, counts.layer_bytes), counts.outside_bytes
        return UnitCosts(
            tuple(n if row in used else 0 for row, n in enumerate(heads)),
            tuple(n if row in used else 0 for row, n in enumerate(neurons)),
            rest + sum(fixed[row] for row in used),
        )

    def _bytes(self, parameters: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
        """Of each row in a file: its parameters, and what is none."""
        return tuple(self.bytes_per_parameter * n + other for n, other in zip(parameters, others, strict=True))

    def width_costs(self, budget: str, layers: np.ndarray | None = None) -> WidthCosts:
        """Exact costs of rows by their widths, for every budget; arguments and errors as for `unit_costs`."""
        self.check_budget(budget)
        if budget in COUNTED:
            unit = self.unit_costs(budget, layers)

            def by_count(costs: tuple[int, ...], counts: tuple[int, ...]) -> tuple[np.ndarray, ...]:
                return tuple(np.arange(n + 1, dtype=np.int64) * cost for n, cost in zip(counts, costs, strict=True))

            heads, neurons = by_count(unit.heads, self.shape.heads), by_count(unit.neurons, self.shape.neurons)
            return WidthCosts(heads, neurons, unit.fixed)
        assert self.latency is not None
        running = np.ones(self.shape.layers, dtype=bool) if layers is None else layers
        times = np.bincount(np.asarray(self.shape.rows)[running], minlength=len(self.shape.heads)).tolist()
        table = self.latency
        return WidthCosts(
            tuple(n * table.of_heads(np.arange(h + 1)) for n, h in zip(times, self.shape.heads, strict=True)),
            tuple(n * table.of_neurons(np.arange(w + 1)) for n, w in zip(times, self.shape.neurons, strict=True)),
            table.outside + sum(times) * table.layer,
        )

    def check_budget(self, budget: str) -> None:
        """Raises: UserError for a budget that is not one of `BUDGETS`, and for latency where none was measured."""
        if budget not in BUDGETS:
            raise UserError(f"There is no budget {budget!r}; choose one of {', '.join(BUDGETS)}.")
        if budget == "latency" and self.latency is None:
            raise UserError(
                "A latency budget needs layer times measured on this machine: `asc latency` measures them into a "
                "study, `asc_core.layer_times` in Python."
            )

    def with_latency(self, table: LatencyTable) -> CostModel:
        """The same with a machine's layer times. Raises: ValueError where they are of a narrower encoder."""
        return replace(self, latency=table)

    @property
    def budgets(self) -> tuple[str, ...]:
        """Those of `BUDGETS` that this model knows: all, or all but latency."""
        return BUDGETS if self.latency is not None else COUNTED

    def total(self, plan: Plan, budget: str) -> int:
        """The plan's cost in the whole units of `width_costs`. Raises: UserError if the plan fits another shape."""
        if plan.shape != self.shape:
            raise UserError(f"The plan is for {plan.shape}, the encoder is {self.shape}.")
        layers = np.zeros(self.shape.layers, dtype=bool)
        layers[list(plan.layers)] = True
        return self._total(budget, layers, map(len, plan.heads), map(len, plan.neurons))

    def dense_total(self, budget: str) -> int:
        """`total` of the plan that removes nothing."""
        return self._total(budget, np.ones(self.shape.layers, dtype=bool), self.shape.heads, self.shape.neurons)

    def limit(self, keep: float, budget: str) -> int:
        """What a share of `dense_total` comes to, in whole units, the share meant as the decimal that it is written as:
        in binary 0.7 is a little less than seven tenths, and a part that costs just as much would not fit."""
        return math.floor(Fraction(repr(float(keep))) * self.dense_total(budget))

    def _total(self, budget: str, layers: np.ndarray, heads: Iterable[int], neurons: Iterable[int]) -> int:
        if budget in COUNTED:
            unit = self.unit_costs(budget, layers)
            counted = zip((*heads, *neurons), unit.heads + unit.neurons, strict=True)
            return unit.fixed + sum(count * cost for count, cost in counted)
        costs = self.width_costs(budget, layers)
        counts = zip((*heads, *neurons), costs.heads + costs.neurons, strict=True)
        return costs.fixed + sum(int(cost[count]) for count, cost in counts)

    def cost(self, plan: Plan) -> Cost:
        """A row's parameters count once however many layers run on it, its FLOPs once a layer.

        Raises: UserError if the plan fits another shape.
        """
        parameters = self.total(plan, "parameters")
        return Cost(
            parameters=parameters,
            encoder_parameters=parameters - self.counts.outside_layers,
            flops=self.total(plan, "flops") / len(self.lengths),
            bytes=self.total(plan, "bytes"),
            latency=self.total(plan, "latency") / 1e9 if self.latency is not None else None,
        )

    @cached_property
    def dense(self) -> Cost:
        """The cost of the uncut encoder."""
        return self.cost(Plan.full(self.shape))
