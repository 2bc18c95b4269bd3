"""A step: matrices as int8, but for those that the application would miss."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from asc_core import modeling
from asc_core.compress.matrix_scan import SAMPLES, MatrixScanner, bearable, kept_in_order, least_kept, quantized
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.modeling import EMBEDDING


class Quantize(Step):
    """Matrices of the layers and the word embedding in int8, with a scale for each row.

    choose: leave in float32 the fewest matrices, so that on training texts no more answers change than could where
    `most_changed` of all do, see `bearable`; measured with all others in int8. keep: matrices that stay float32 anyway,
    as `asc scan` names them: row of layer weights from 0 and path; a path alone (in every layer), a row alone (a whole
    layer), or "word_embedding".
    activations: "dynamic" rounds what matrices multiply, too, which is what makes runtimes fast; "none" takes bytes
    alone.
    """

    kind: ClassVar[str] = "quantize"
    structure: ClassVar[str | None] = "quantize"
    activations: Literal["dynamic", "none"] = Field(
        default="dynamic", description="Whether what matrices multiply is rounded to int8, too"
    )
    embedding: bool = Field(default=True, title="Word embedding", description="Whether the word embedding is int8, too")
    choose: bool = Field(
        default=True, title="Choose matrices", description="Leave those in float32 that change too many answers"
    )
    most_changed: float = Field(
        default=0.01, ge=0, le=1, title="Answers changed", description="Share of the answers that may change"
    )
    keep: tuple[str, ...] = ()
    samples: int = Field(default=SAMPLES, ge=8)
    seed: int = Field(default=0, ge=0)

    @property
    def needs_task(self) -> bool:
        return self.choose

    def cache_key(self) -> Any:
        """With a mark of how matrices are chosen: what was stored before was chosen to the letter."""
        return [*super().cache_key(), *(["by chance"] * self.choose)]

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        able = [name for name in modeling.quantizable(encoder.model) if self.embedding or name != EMBEDDING]
        kept = self._kept_by_name(able)
        if self.choose and set(kept) < set(able):
            kept += self._chosen(encoder, context, kept, able)
        chosen = [name for name in able if name not in kept]
        if not chosen:
            raise UserError(
                f"No matrix of {encoder.name} is left to quantize: keep fewer, or allow more answers to change."
            )
        context.done = f"{self.describe()}: {len(chosen)} of {len(able)} in int8" + (
            f", float32 stay {', '.join(kept)}" if kept else ""
        )
        return quantized(encoder, chosen, self.activations)

    def describe(self) -> str:
        inputs = ", inputs rounded in each call" if self.activations == "dynamic" else ", weights alone"
        some = f", about {100 * self.most_changed:g} % of answers changed at most" if self.choose else ""
        return f"matrices in int8{inputs}{some}"

    def _kept_by_name(self, able: list[str]) -> list[str]:
        """Raises: UserError for a name of nothing."""
        found: list[str] = []
        for asked in self.keep:
            named = [name for name in able if asked in (name, *name.split(".", 1))]
            if not named and asked != EMBEDDING:
                paths = dict.fromkeys(name.split(".", 1)[-1] for name in able)
                raise UserError(f"There is no matrix {asked!r} to keep; there are {', '.join(paths)}.")
            found += [name for name in named if name not in found]
        return found

    def _chosen(self, encoder: Encoder, context: StepContext, kept: list[str], able: list[str]) -> list[str]:
        """First by what each matrix does alone; then one more, as long as all others together change too much."""
        scanner = MatrixScanner(
            encoder, context.task, activations=self.activations, samples=self.samples, seed=self.seed
        )
        open_ = [name for name in able if name not in kept]
        most = bearable(self.most_changed, scanner.texts) if scanner.decides else self.most_changed
        if _share(scanner, open_) <= most:
            return []
        scan = scanner.scan(open_, context.progress)
        found = list(least_kept(scan, most))
        order = list(kept_in_order(scan))
        while len(found) < len(order) and _share(scanner, [n for n in open_ if n not in found]) > most:
            found = order[: len(found) + max(1, len(order) // 16)]
        return found


def _share(scanner: MatrixScanner, names: list[str]) -> float:
    return scanner.effect(names).share
