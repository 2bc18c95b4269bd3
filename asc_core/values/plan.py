"""A cut as a value: which heads, neurons and layers of an encoder stay, and where that choice comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from asc_core.errors import UserError
from asc_core.json_files import read_json, write_json
from asc_core.values.checked import first_fault, parsed
from asc_core.values.shape import Indices, Shape
from asc_core.values.shown import html_table, html_titled

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Provenance:
    """Where a plan comes from. `weights` is the fingerprint of the weights whose scores chose it."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    weights: str | None = None
    model: str | None = None
    task: str | None = None
    method: str | None = None
    rule: str | None = None
    split: str | None = None
    seed: int | None = None


PLAN_FORMAT = "asc-plan/1"


@dataclass(frozen=True)
class Plan:
    """A cut: which heads and neurons of each row, and which layers, stay.

    Equality and hash cover the shape and what is kept; provenance travels along. Indices refer to the encoder that
    is cut, in ascending order.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    shape: Shape
    heads: tuple[Indices, ...]
    neurons: tuple[Indices, ...]
    layers: Indices
    provenance: Provenance = field(default=Provenance(), compare=False)

    def __post_init__(self) -> None:
        rows = len(self.shape.heads)
        if len(self.heads) != rows or len(self.neurons) != rows:
            raise UserError(
                f"The plan lists {len(self.heads)} rows of heads and {len(self.neurons)} of neurons; "
                f"the model has {rows} ({self.shape})."
            )
        for kind, kept, counts in (
            ("head", self.heads, self.shape.heads),
            ("neuron", self.neurons, self.shape.neurons),
        ):
            for row, (indices, count) in enumerate(zip(kept, counts, strict=True)):
                _check_ascending(indices, count, f"{kind}s of layer {row + 1}")
        _check_ascending(self.layers, self.shape.layers, "layers")
        if not self.layers:
            raise UserError("The plan keeps no layer at all; keep at least one.")
        if self.shape.shares_weights and len(self.layers) < self.shape.layers:
            per_row = {sum(self.shape.rows[layer] == row for layer in self.layers) for row in set(self.shape.rows)}
            if len(per_row) != 1:
                raise UserError(
                    f"The layers of this {self.shape.architecture} encoder share weights in {len(self.shape.heads)} "
                    "group(s), so single layers cannot be removed: keep the same number of iterations of every group."
                )

    @staticmethod
    def full(shape: Shape, provenance: Provenance = Provenance()) -> Plan:
        """The plan that removes nothing."""
        return Plan(
            shape,
            tuple(tuple(range(n)) for n in shape.heads),
            tuple(tuple(range(n)) for n in shape.neurons),
            tuple(range(shape.layers)),
            provenance,
        )

    @staticmethod
    def from_masks(
        shape: Shape,
        heads: Sequence[np.ndarray] | None = None,
        neurons: Sequence[np.ndarray] | None = None,
        layers: np.ndarray | None = None,
        provenance: Provenance = Provenance(),
    ) -> Plan:
        """From boolean arrays, True = kept; what is not given is kept whole."""

        def indices(masks: Sequence[np.ndarray] | None, counts: Indices) -> tuple[Indices, ...]:
            if masks is None:
                return tuple(tuple(range(n)) for n in counts)
            return tuple(tuple(np.flatnonzero(m).tolist()) for m in masks)

        kept_layers = tuple(range(shape.layers)) if layers is None else tuple(np.flatnonzero(layers).tolist())
        return Plan(shape, indices(heads, shape.heads), indices(neurons, shape.neurons), kept_layers, provenance)

    @property
    def keeps_all(self) -> bool:
        return self == Plan.full(self.shape)

    @cached_property
    def key(self) -> str:
        """A short stable name for what is kept: the key under which results are stored."""
        kept = json.dumps([self.shape.fingerprint, self.heads, self.neurons, self.layers])
        return hashlib.sha256(kept.encode()).hexdigest()[:20]

    def __or__(self, other: Plan) -> Plan:
        """Keep what either keeps."""
        return self._combine(other, lambda a, b: a | b)

    def __and__(self, other: Plan) -> Plan:
        """Keep what both keep."""
        return self._combine(other, lambda a, b: a & b)

    def _combine(self, other: Plan, rule: Any) -> Plan:
        if self.shape != other.shape:
            raise UserError(f"The two plans are for different encoders: {self.shape}; {other.shape}.")

        def each(mine: Iterable[Indices], theirs: Iterable[Indices]) -> tuple[Indices, ...]:
            return tuple(tuple(sorted(rule(set(a), set(b)))) for a, b in zip(mine, theirs, strict=True))

        return Plan(
            self.shape,
            each(self.heads, other.heads),
            each(self.neurons, other.neurons),
            each([self.layers], [other.layers])[0],
            Provenance(rule="combined"),
        )

    def drop(self, layer: int, head: int | None = None, neuron: int | None = None) -> Plan:
        """A new plan without one head or neuron of a row, or, with neither named, without the whole layer."""
        return self._set(layer, head, neuron, keep=False)

    def restore(self, layer: int, head: int | None = None, neuron: int | None = None) -> Plan:
        """The opposite of `drop`."""
        return self._set(layer, head, neuron, keep=True)

    def _set(self, layer: int, head: int | None, neuron: int | None, keep: bool) -> Plan:
        def edit(indices: Indices, index: int, count: int, what: str) -> Indices:
            if not 0 <= index < count:
                raise UserError(f"There is no {what} {index}: the model has {count} (counted from 0).")
            return tuple(sorted(set(indices) | {index})) if keep else tuple(i for i in indices if i != index)

        if head is None and neuron is None:
            return replace(self, layers=edit(self.layers, layer, self.shape.layers, "layer"))
        edit((), layer, len(self.shape.heads), "layer")
        heads, neurons = list(self.heads), list(self.neurons)
        if head is not None:
            heads[layer] = edit(heads[layer], head, self.shape.heads[layer], f"head in layer {layer}:")
        if neuron is not None:
            neurons[layer] = edit(neurons[layer], neuron, self.shape.neurons[layer], f"neuron in layer {layer}:")
        return replace(self, heads=tuple(heads), neurons=tuple(neurons))

    def to_frame(self) -> pandas.DataFrame:
        """One row a part: kind (heads, neurons, layers), layer, index, kept; counted from 0.

        index is missing for layers. A head of a removed layer is kept where the plan does not name it: it goes with its
        layer.
        """
        import pandas

        rows: list[tuple[str, int, int | None, bool]] = []
        for kind, kept, counts in (
            ("heads", self.heads, self.shape.heads),
            ("neurons", self.neurons, self.shape.neurons),
        ):
            for layer, (indices, count) in enumerate(zip(kept, counts, strict=True)):
                there = set(indices)
                rows += [(kind, layer, index, index in there) for index in range(count)]
        rows += [("layers", layer, None, layer in self.layers) for layer in range(self.shape.layers)]
        return pandas.DataFrame(rows, columns=["kind", "layer", "index", "kept"]).astype({"index": "Int64"})

    @property
    def _facts(self) -> str:
        whole = self.shape
        kept = [
            f"{len(self.layers)} of {whole.layers} layers",
            f"{sum(map(len, self.heads))} of {sum(whole.heads)} heads",
            f"{sum(map(len, self.neurons)):,} of {sum(whole.neurons):,} neurons",
        ]
        made = [text for text in (self.provenance.method, self.provenance.rule, self.provenance.task) if text]
        return f"keeps {', '.join(kept)}{'; ' + ', '.join(made) if made else ''}"

    def __repr__(self) -> str:
        return f"Plan({self._facts})"

    def _repr_html_(self) -> str:
        whole = self.shape
        rows = [
            (row, f"{len(heads)} of {whole.heads[row]}", f"{len(neurons):,} of {whole.neurons[row]:,}")
            for row, (heads, neurons) in enumerate(zip(self.heads, self.neurons, strict=True))
        ]
        gone = [str(layer) for layer in range(whole.layers) if layer not in self.layers]
        note = f"removed layers: {', '.join(gone)}" if gone else ""
        return html_titled(
            f"Plan for {whole}: {self._facts}", html_table(("layer", "heads", "neurons"), rows), notes=[note]
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "format": PLAN_FORMAT,
            "shape": self.shape.to_json(),
            "heads": [list(h) for h in self.heads],
            "neurons": [list(n) for n in self.neurons],
            "layers": list(self.layers),
            "provenance": {k: v for k, v in self.provenance.__dict__.items() if v is not None},
        }

    @staticmethod
    def from_json(data: Any, origin: str = "plan") -> Plan:
        """Raises: UserError naming `origin` and the first field that is wrong."""
        content = data
        if isinstance(data, dict) and isinstance(data.get("format"), str):
            content = {name: value for name, value in data.items() if name != "format"}
            if data["format"] != PLAN_FORMAT:
                reads = f"its format is {data['format']!r}, this version reads {PLAN_FORMAT!r}"
                raise UserError(f"{origin} is not a usable plan: {reads}")
        try:
            return parsed(_PLAN, content)
        except ValidationError as error:
            refused = error.errors()[0].get("ctx", {}).get("error")
            if isinstance(refused, UserError):
                raise UserError(f"{origin} is not a usable plan: {refused}") from None
            raise UserError(f"{origin} is not a plan: {first_fault(error)}. Make one with `asc plan`.") from None

    def save(self, path: str | Path) -> None:
        """Raises: UserError where it cannot be written."""
        write_json(path, self.to_json())

    @staticmethod
    def load(path: str | Path) -> Plan:
        return Plan.from_json(read_json(path), origin=str(path))


def _check_ascending(indices: Indices, count: int, what: str) -> None:
    if list(indices) != sorted(set(indices)) or (indices and not 0 <= indices[0] <= indices[-1] < count):
        raise UserError(f"The kept {what} must be ascending numbers from 0 to {count - 1}, each once.")


_PLAN = TypeAdapter(Plan)
