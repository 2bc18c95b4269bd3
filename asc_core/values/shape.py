"""The widths of an encoder: what a plan has to fit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from asc_core.errors import UserError
from asc_core.values.checked import first_fault, parsed

Indices = tuple[int, ...]
Width = Annotated[int, Field(gt=0, lt=2**20)]
Count = Annotated[int, Field(ge=0, lt=2**20)]


@dataclass(frozen=True)
class Shape:
    """The widths of an encoder: what a plan has to fit.

    A *row* is one set of layer weights, a *layer* one step of the computation. They are the same thing except in
    ALBERT, where several layers run on the weights of one row.

    heads, neurons: how many of each a row has. rows: the row whose weights each layer uses, in order of execution.
    shares_weights: whether rows serve several layers (by design, even where a cut left one layer to each row).
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    architecture: str
    hidden: Width
    head_width: Width
    heads: Annotated[tuple[Count, ...], Field(min_length=1, max_length=1024)]
    neurons: tuple[Count, ...]
    rows: Annotated[tuple[Count, ...], Field(min_length=1, max_length=1024)]
    shares_weights: bool = False

    def __post_init__(self) -> None:
        if len(self.neurons) != len(self.heads) or max(self.rows) >= len(self.heads):
            raise ValueError("heads and neurons need one number a row, and rows may name only those")
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
            return parsed(_SHAPE, data)
        except ValidationError as error:
            raise UserError(f"This is not the shape of an encoder: {first_fault(error)}.") from None

    def __str__(self) -> str:
        def widths(counts: Indices) -> str:
            return str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))

        if not any((*self.heads, *self.neurons)):
            return f"{self.architecture}, {self.layers} layers, hidden size {self.hidden}"
        return (
            f"{self.architecture}, {self.layers} layers x {widths(self.heads)} heads x {widths(self.neurons)} neurons, "
            f"hidden size {self.hidden}"
        )


_SHAPE = TypeAdapter(Shape)
