"""The widths of an encoder: what a plan has to fit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

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


def _first_fault(error: ValidationError) -> str:
    """The first field that is wrong, and how."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
