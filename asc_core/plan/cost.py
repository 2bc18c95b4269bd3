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

    static_parameters: all that no plan removes: embeddings and their norm, relative position tables, pooler, task
        head. (Not the layers' own biases and norms: these are `parameters_per_layer_fixed`.)
    parameters_per_head: for each row, of one head: its rows of q, k, v (weight and bias; position projections where
        each layer has its own) and its columns of the readout.
    parameters_per_neuron: for each row, of one neuron: its row of the FFN's input (two rows if gated; weight and
        bias) and its column of the readout.
    parameters_per_layer_fixed: for each row, what goes only with the whole layer: readout biases and norms.
    lengths: (texts,), tokens of each text without padding, after truncation.
    gated: whether the FFN has a gate (three products for each neuron instead of two).
    window: for each layer, how many tokens one token attends to, None = all (ModernBERT's local attention). Empty =
        all layers attend to everything.
    relative_span: DeBERTa's attention span in tokens (its position table has 2 x span rows), 0 = none.
    latency: a machine's layer times; without it there is no budget of latency.

    Raises: UserError if `lengths` is empty or has a text without tokens; ValueError if the rows or the latency table
    do not fit the shape.
    """

    shape: Shape
    static_parameters: int
    parameters_per_head: tuple[int, ...]
    parameters_per_neuron: tuple[int, ...]
    parameters_per_layer_fixed: tuple[int, ...]
    lengths: np.ndarray
    gated: bool = False
    window: tuple[int | None, ...] = ()
    relative_span: int = 0
    bytes_per_parameter: int = 4
    latency: LatencyTable | None = None

    def __post_init__(self) -> None:
        rows = len(self.shape.heads)
        for name in ("parameters_per_head", "parameters_per_neuron", "parameters_per_layer_fixed"):
            if len(getattr(self, name)) != rows:
                raise ValueError(f"{name} needs one number for each of {rows} rows, not {len(getattr(self, name))}")
        if self.window and len(self.window) != self.shape.layers:
            raise ValueError(f"window needs one entry for each of {self.shape.layers} layers, not {len(self.window)}")
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
        """FLOPs of one head of each layer, summed over all texts."""
        d, width = self.shape.hidden, self.shape.head_width
        tokens = int(self.lengths.sum())
        totals = []
        for window in self.window or (None,) * self.shape.layers:
            seen = self.lengths if window is None else np.minimum(self.lengths, window)
            projections = 4 * tokens * d * width  # q, k, v and the readout
            attention = 2 * int((self.lengths * seen).sum()) * width  # q k^T and the weighted sum of v
            # Content-to-position and position-to-content scores. The projections of the positions themselves are the
            # same for every text, so they are nobody's cost for one text.
            relative = 2 * tokens * 2 * self.relative_span * width
            totals.append(2 * (projections + attention + relative))
        return tuple(totals)

    @cached_property
    def _neuron_total(self) -> int:
        """FLOPs of one neuron, summed over all texts."""
        return 2 * (3 if self.gated else 2) * int(self.lengths.sum()) * self.shape.hidden

    def head_flops(self, layer: int) -> float:
        """FLOPs of one head in `layer` on an average text: on s tokens 3 s d d_h + 2 s^2 d_h + s d_h d multiply-adds
        (Kwon et al. 2022, 2204.09656), with the means of s and s^2 over the task's own lengths."""
        return self._head_totals[layer] / len(self.lengths)

    def neuron_flops(self, layer: int) -> float:
        """FLOPs of one neuron in `layer` on an average text."""
        return self._neuron_total / len(self.lengths)

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
        rows = len(self.shape.heads)
        if budget == "flops":
            heads, neurons = [0] * rows, [0] * rows
            for layer in running:
                heads[self.shape.rows[layer]] += self._head_totals[layer]
                neurons[self.shape.rows[layer]] += self._neuron_total
            return UnitCosts(tuple(heads), tuple(neurons), 0)
        used = {self.shape.rows[layer] for layer in running}
        each = self.bytes_per_parameter if budget == "bytes" else 1
        return UnitCosts(
            tuple(each * n * (row in used) for row, n in enumerate(self.parameters_per_head)),
            tuple(each * n * (row in used) for row, n in enumerate(self.parameters_per_neuron)),
            each * (self.static_parameters + sum(self.parameters_per_layer_fixed[row] for row in used)),
        )

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
            encoder_parameters=parameters - self.static_parameters,
            flops=self.total(plan, "flops") / len(self.lengths),
            bytes=self.total(plan, "bytes"),
            latency=self.total(plan, "latency") / 1e9 if self.latency is not None else None,
        )

    @cached_property
    def dense(self) -> Cost:
        """The cost of the uncut encoder."""
        return self.cost(Plan.full(self.shape))
