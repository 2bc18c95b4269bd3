"""A step: how the weights will lie in a file, and what they lose by it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder, packing_named
from asc_core.modeling import PACKINGS


class Pack(Step):
    """Round the weights as a packing stores them; everything is still computed in float32.

    packing: one of `modeling.PACKINGS`.
    """

    kind: ClassVar[str] = "pack"
    packing: str = Field(
        default="float16", description="How weights are stored", json_schema_extra={"enum": list(PACKINGS)}
    )

    @field_validator("packing")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return packing_named(value).name

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder.packed(self.packing)

    def describe(self) -> str:
        return f"weights stored in {self.packing}"
