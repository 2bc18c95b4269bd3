"""The values that flow through the engine: Shape, Plan, Scores, Estimate.

All are immutable. What comes from a file is untrusted: it is parsed, checked and refused with one sentence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from asc_core.errors import UserError

Indices = tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """The widths of an encoder: what a plan has to fit.

    A *row* is one set of layer weights, a *layer* one step of the computation. They are the same thing except in
    ALBERT, where several layers run on the weights of one row.

    heads, neurons: how many of each a row has. rows: the row whose weights each layer uses, in order of execution.
    shares_weights: whether rows serve several layers (by design, even where a cut left one layer to each row).
    """

    architecture: str
    hidden: int
    head_width: int
    heads: Indices
    neurons: Indices
    rows: Indices
    shares_weights: bool = False

    def __post_init__(self) -> None:
        if len(self.heads) != len(self.rows):
            object.__setattr__(self, "shares_weights", True)

    @property
    def layers(self) -> int:
        return len(self.rows)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "hidden": self.hidden,
            "head_width": self.head_width,
            "heads": list(self.heads),
            "neurons": list(self.neurons),
            "rows": list(self.rows),
            "shares_weights": self.shares_weights,
        }

    @staticmethod
    def from_json(data: Any) -> Shape:
        """Raises: UserError that says which width is not one."""
        try:
            return _ShapeFile.model_validate(data).shape()
        except ValidationError as error:
            raise UserError(f"This is not the shape of an encoder: {_first_fault(error)}.") from None

    def __str__(self) -> str:
        def widths(counts: Indices) -> str:
            return str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))

        return (
            f"{self.architecture}, {self.layers} layers x {widths(self.heads)} heads x {widths(self.neurons)} neurons, "
            f"hidden size {self.hidden}"
        )


@dataclass(frozen=True)
class Provenance:
    """Where a plan comes from. `weights` is the fingerprint of the weights whose scores chose it."""

    weights: str | None = None
    model: str | None = None
    task: str | None = None
    method: str | None = None
    rule: str | None = None
    split: str | None = None
    seed: int | None = None


_Width = Annotated[int, Field(gt=0, lt=2**20)]
_Count = Annotated[int, Field(ge=0, lt=2**20)]


class _ShapeFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    architecture: str
    hidden: _Width
    head_width: _Width
    heads: list[_Count] = Field(min_length=1, max_length=1024)
    neurons: list[_Count]
    rows: list[_Count] = Field(min_length=1, max_length=1024)
    shares_weights: bool = False

    @model_validator(mode="after")
    def _rows_exist(self) -> _ShapeFile:
        if len(self.neurons) != len(self.heads) or max(self.rows) >= len(self.heads):
            raise ValueError("heads and neurons need one number a row, and rows may name only those")
        return self

    def shape(self) -> Shape:
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in self.__dict__.items()}
        return Shape(**values)


class _ProvenanceFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    weights: str | None = None
    model: str | None = None
    task: str | None = None
    method: str | None = None
    rule: str | None = None
    split: str | None = None
    seed: int | None = None


class _PlanFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    format: str
    shape: _ShapeFile
    heads: list[list[int]]
    neurons: list[list[int]]
    layers: list[int]
    provenance: _ProvenanceFile = _ProvenanceFile()


def _first_fault(error: ValidationError) -> str:
    """The first field that is wrong, and how."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


PLAN_FORMAT = "asc-plan/1"


@dataclass(frozen=True)
class Plan:
    """A cut: which heads and neurons of each row, and which layers, stay.

    Equality and hash cover the shape and what is kept; provenance travels along. Indices refer to the encoder that
    is cut, in ascending order.
    """

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
        try:
            file = _PlanFile.model_validate(data)
            if file.format != PLAN_FORMAT:
                raise UserError(f"its format is {file.format!r}, this version reads {PLAN_FORMAT!r}")
            return Plan(
                file.shape.shape(),
                tuple(map(tuple, file.heads)),
                tuple(map(tuple, file.neurons)),
                tuple(file.layers),
                Provenance(**file.provenance.__dict__),
            )
        except ValidationError as error:
            raise UserError(f"{origin} is not a plan: {_first_fault(error)}. Make one with `asc plan`.") from None
        except UserError as error:
            raise UserError(f"{origin} is not a usable plan: {error}") from None

    def save(self, path: str | Path) -> None:
        """Raises: UserError where it cannot be written."""
        write_json(path, self.to_json())

    @staticmethod
    def load(path: str | Path) -> Plan:
        return Plan.from_json(read_json(path), origin=str(path))


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises: UserError that names the file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except (ValueError, RecursionError) as error:  # a ValueError alone: a number of thousands of digits
        raise UserError(f"{path} is not valid JSON: {error}.") from None


def write_json(path: str | Path, content: Any) -> None:
    """One line, in folders that are made where they are missing. Raises: UserError that names the file."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}. Name another file.") from None


def _check_ascending(indices: Indices, count: int, what: str) -> None:
    if list(indices) != sorted(set(indices)) or (indices and not 0 <= indices[0] <= indices[-1] < count):
        raise UserError(f"The kept {what} must be ascending numbers from 0 to {count - 1}, each once.")


@dataclass(frozen=True)
class PartValues:
    """One number for each part of an encoder; None where a method says nothing about that kind of part.

    heads, neurons: one array a row, (heads of the row,) and (neurons of the row,). attention, ffn: (rows,), the two
    sublayers. layers: (layers,).
    """

    heads: tuple[np.ndarray, ...] | None = None
    neurons: tuple[np.ndarray, ...] | None = None
    attention: np.ndarray | None = None
    ffn: np.ndarray | None = None
    layers: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Flat names ("heads.0") to arrays: the form on disk."""
        flat: dict[str, np.ndarray] = {}
        for kind in ("heads", "neurons"):
            for row, values in enumerate(getattr(self, kind) or ()):
                flat[f"{kind}.{row}"] = values
        for kind in ("attention", "ffn", "layers"):
            if getattr(self, kind) is not None:
                flat[kind] = getattr(self, kind)
        return flat

    @staticmethod
    def from_arrays(flat: dict[str, np.ndarray]) -> PartValues:
        def rows(kind: str) -> tuple[np.ndarray, ...] | None:
            names = [n for n in flat if n.startswith(kind + ".")]
            return tuple(flat[f"{kind}.{row}"] for row in range(len(names))) or None

        return PartValues(rows("heads"), rows("neurons"), flat.get("attention"), flat.get("ffn"), flat.get("layers"))


@dataclass(frozen=True)
class Scores:
    """How much each part contributes, by one method on one task. Higher = contributes more = keep.

    labels: "none" (representation and weight methods), "gold", "sampled" or "argmax" (the model's own).
    low, high: the ends of a 95 % interval over examples, where the method has one.
    similarity: (L+1, L+1), ASC's matrix over the embedding output and each layer's output, where the method has one.
    details: further named arrays of a method, described there. texts: fingerprint of those it was made from, see
    `scores.data_fingerprint`; "" where none were needed, or by an earlier version.
    """

    method: str
    values: PartValues
    shape: Shape
    weights: str
    task: str
    split: str
    examples: int
    seed: int = 0
    labels: str = "none"
    low: PartValues | None = None
    high: PartValues | None = None
    similarity: np.ndarray | None = None
    notes: str = ""
    details: Mapping[str, np.ndarray] = field(default_factory=dict)
    texts: str = ""

    def provenance(self, rule: str) -> Provenance:
        return Provenance(
            weights=self.weights, task=self.task, method=self.method, rule=rule, split=self.split, seed=self.seed
        )

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """(arrays, metadata), as they go into one safetensors file."""
        arrays: dict[str, np.ndarray] = {}
        for prefix, values in (("value", self.values), ("low", self.low), ("high", self.high)):
            if values is not None:
                arrays |= {f"{prefix}.{name}": np.ascontiguousarray(a) for name, a in values.arrays().items()}
        if self.similarity is not None:
            arrays["similarity"] = np.ascontiguousarray(self.similarity)
        arrays |= {f"detail.{name}": np.ascontiguousarray(a) for name, a in self.details.items()}
        simple = {k: getattr(self, k) for k in _SCORES_METADATA}
        return arrays, {"scores": json.dumps(simple | {"shape": self.shape.to_json()})}

    @staticmethod
    def from_arrays(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Scores:
        data = json.loads(metadata["scores"])
        shape = Shape.from_json(data.pop("shape"))

        def part(prefix: str) -> PartValues | None:
            own = {k.removeprefix(prefix + "."): v for k, v in arrays.items() if k.startswith(prefix + ".")}
            return PartValues.from_arrays(own) if own else None

        return Scores(
            values=part("value") or PartValues(),
            low=part("low"),
            high=part("high"),
            similarity=arrays.get("similarity"),
            details={k.removeprefix("detail."): v for k, v in arrays.items() if k.startswith("detail.")},
            shape=shape,
            **data,
        )


_SCORES_METADATA = ("method", "weights", "task", "split", "examples", "seed", "labels", "notes", "texts")


@dataclass(frozen=True)
class Estimate:
    """A measured metric: fractions (0.842, not 84.2 %), intervals at 95 %.

    difference: this model minus the original on the same examples (paired), None where no original was given.
    examples of total: how many examples of the split are behind it. looks: what the intervals are for; "one" look at
    these examples, or "any" number of looks on the way to here, at whose pleasure one may have stopped.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    split: str
    examples: int
    total: int
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    truncated: int = 0
    looks: Literal["one", "any"] = "one"

    @property
    def complete(self) -> bool:
        return self.examples == self.total

    @property
    def reach(self) -> float:
        """How far the interval goes to either side at most: that of the difference, where there is one."""
        if self.difference is not None and self.difference_interval is not None:
            value, ends = self.difference, self.difference_interval
        else:
            value, ends = self.value, self.interval
        return max(value - ends[0], ends[1] - value)

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "value": self.value,
            "interval": list(self.interval),
            "difference": self.difference,
            "difference_interval": list(self.difference_interval) if self.difference_interval else None,
            "split": self.split,
            "examples": self.examples,
            "total": self.total,
            "truncated": self.truncated,
            "looks": self.looks,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Estimate:
        def pair(value: Sequence[float] | None) -> Any:
            return tuple(value) if value is not None else None

        return Estimate(
            **{**data, "interval": pair(data["interval"]), "difference_interval": pair(data["difference_interval"])}
        )
