"""A step: learn from the original with all matrices in the few bits that they will have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from asc_core import modeling
from asc_core.compress.low_bits import Coded
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.modeling import EMBEDDING
from asc_core.modeling.quantize import MOST_IN_GROUP
from asc_core.train.rounded import coded, plain, rounded, roundings
from asc_core.train.run import Trained
from asc_core.train.steps import Distil, once


class TrainQuantized(Distil):
    """Distil while the matrices are rounded to few bits in every pass, so that the others make up for it; then store
    the codes.

    bits: of the layers' matrices, and of those outside; embedding_bits: of the word embedding, None = float32. group:
    numbers that share a scale. outside: whether pooler, heads and positions are rounded, too. Levels are found by
    k-means for each matrix; at 1 bit a number is one of two. What is computed is float32: few bits save disk and no
    time. The other fields are those of `distil`; all weights learn.
    """

    kind: ClassVar[str] = "train-quantized"
    structure: ClassVar[str | None] = "quantize"
    bits: Literal[8, 4, 3, 2, 1] = Field(default=4, description="Of each number of the matrices")
    embedding_bits: Literal[4, 2] | None = Field(
        default=4, title="Bits of the word embedding", description="Empty: it stays as it is"
    )
    group: int = Field(default=modeling.GROUP, ge=1, le=MOST_IN_GROUP, description="Numbers that share a scale")
    outside: bool = Field(
        default=True, title="Pooler and heads", description="Whether pooler, heads and positions are rounded, too"
    )

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        if self.lora_rank is not None:
            raise UserError("Rounded matrices learn as a whole: leave lora_rank out.")
        teacher = context.teacher or encoder
        entry = self.entry
        able = modeling.quantizable(encoder.model, outside=self.outside)
        names = [name for name in able if name != EMBEDDING or self.embedding_bits is not None]
        if not names:
            raise UserError(f"No matrix of {encoder.name} is left to round: they are in codes already.")
        known = roundings(encoder, entry, names)

        def train(out: Path | None) -> Trained:
            return self.learn(rounded(encoder, known), teacher, context, out)

        said = f"trained in {self._codes} towards the original ({{account}})"
        learnt = once(train, context, encoder, said)
        plain(learnt)
        return Coded(entry, coded(learnt, known)).encoder(learnt, names)

    def describe(self) -> str:
        most = "at most " if self.patience is not None else ""
        return f"trained in {self._codes} towards the original ({most}{self.steps} steps)"

    @property
    def _codes(self) -> str:
        table = "" if self.embedding_bits is None else f", word embedding in {self.embedding_bits}"
        return f"{self.bits} bit{'s' if self.bits > 1 else ''}{table}"

    @property
    def entry(self) -> dict[str, Any]:
        entry = {"kind": self.structure, "bits": self.bits, "activations": "none", "group": self.group}
        return entry if self.embedding_bits is None else {**entry, "embedding_bits": self.embedding_bits}
