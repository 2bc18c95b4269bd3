"""A step: matrices in codes of 8 bits or fewer, but for those that the application would miss."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from asc_core import modeling
from asc_core.compress.linear_statistics import SAMPLES as SAMPLES_OF_INPUTS
from asc_core.compress.linear_statistics import MatrixStatistics, linear_statistics
from asc_core.compress.low_bits import Coded, coded_module
from asc_core.compress.matrix_scan import SAMPLES, MatrixScanner, bearable, kept_in_order, least_kept, quantized
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.modeling import EMBEDDING
from asc_core.modeling.quantize import MOST_IN_GROUP


class Quantize(Step):
    """Matrices of the layers and the word embedding in int8, with a scale for each row, or in fewer bits.

    bits: of the layers' matrices; embedding_bits: of the word embedding. Below 8 bits, and wherever a `group` is given,
    so many numbers share a scale (64 where none is given), codes lie packed, and what is computed is float32: they save
    disk and no time, and inputs are not rounded, whatever `activations` says. rounding: "nearest", or "second-order",
    by which the columns of a matrix make up for the errors of those before them on the application's texts (GPTQ,
    Frantar et al. 2022, arXiv 2210.17323). levels: "even" steps, or the means that "k-means" finds for each matrix,
    where there are groups.
    choose: leave in float32 the fewest matrices, so that on training texts no more answers change than could where
    `most_changed` of all do, see `bearable`; measured with all others in codes. keep: matrices that stay float32
    anyway, as `asc scan` names them: row of layer weights from 0 and path; a path alone (in every layer), a row alone
    (a whole layer), or "word_embedding".
    activations: "dynamic" rounds what matrices multiply, too, which is what makes runtimes fast; "none" takes bytes
    alone. A BiLSTM's are multiplied in float32, so that they are rounded to the nearest, and nothing else is.
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
    bits: Literal[8, 4, 3, 2] = Field(default=8, description="Of each number of the layers' matrices")
    group: int | None = Field(
        default=None,
        ge=1,
        le=MOST_IN_GROUP,
        description="Numbers that share a scale: by default a whole row at 8 bits, 64 below",
    )
    rounding: Literal["nearest", "second-order"] = Field(
        default="nearest",
        description="Each number by itself, or so that others make up for its error on the application's texts",
    )
    levels: Literal["even", "k-means"] = Field(
        default="even", description="Even steps, or the means of each matrix's numbers, where groups share a scale"
    )
    embedding_bits: Literal[8, 4, 2] = Field(
        default=8, title="Bits of the word embedding", description="Of each number of the word embedding"
    )

    @property
    def needs_task(self) -> bool:
        return self.choose or self.rounding == "second-order"

    def cache_key(self) -> Any:
        """In plain int8 it is what it was before there was another way, but for a mark of how matrices are chosen: what
        was stored before was chosen to the letter."""
        said = self.model_dump(mode="json")
        for name in ("bits", "group", "rounding", "levels", "embedding_bits"):
            if said[name] == type(self).model_fields[name].default:
                del said[name]
        return [self.kind, said, *(["by chance"] * self.choose)]

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        if not encoder.has_parts and (self.rounding, self.activations) != ("nearest", "none"):
            # What multiplies its matrices takes floats, and shows nothing of what they read.
            return self.model_copy(update={"rounding": "nearest", "activations": "none"}).apply(encoder, context)
        able = [name for name in modeling.quantizable(encoder.model) if self.embedding or name != EMBEDDING]
        kept = self._kept_by_name(able)
        coded = self._coded(encoder, context, [name for name in able if name not in kept])
        if self.choose and set(kept) < set(able):
            kept += self._chosen(encoder, context, kept, able, coded)
        chosen = [name for name in able if name not in kept]
        if not chosen:
            raise UserError(
                f"No matrix of {encoder.name} is left to quantize: keep fewer, or allow more answers to change."
            )
        context.done = f"{self.describe()}: {len(chosen)} of {len(able)} in {self._codes}" + (
            f", float32 stay {', '.join(kept)}" if kept else ""
        )
        return quantized(encoder, chosen, self.activations) if coded is None else coded.encoder(encoder, chosen)

    def describe(self) -> str:
        if self._of_group is not None:
            inputs = ", inputs stay float32" if self.activations == "dynamic" else ", weights alone"
        else:
            inputs = ", inputs rounded in each call" if self.activations == "dynamic" else ", weights alone"
        some = f", about {100 * self.most_changed:g} % of answers changed at most" if self.choose else ""
        found = [
            f"a scale for each {self._of_group}" if self._of_group is not None else "",
            "k-means" if self.levels == "k-means" else "",
            "rounded to second order" if self.rounding == "second-order" else "",
            f"word embedding in {self.embedding_bits} bits" if self._packs_embedding else "",
        ]
        return f"matrices in {self._codes}{''.join(f', {one}' for one in found if one)}{inputs}{some}"

    @property
    def _codes(self) -> str:
        return "int8" if self.bits == 8 else f"{self.bits} bits"

    @property
    def _of_group(self) -> int | None:
        """Numbers that share a scale; None where it is a row of int8."""
        return self.group if self.group is not None or self.bits == 8 else modeling.GROUP

    @property
    def _packs_embedding(self) -> bool:
        return self.embedding and self.embedding_bits != 8

    def _coded(self, encoder: Encoder, context: StepContext, names: list[str]) -> Coded | None:
        """None where they are the nearest int8, which `quantized` makes."""
        if self._of_group is None and self.rounding == "nearest" and not self._packs_embedding:
            return None
        entry: dict[str, Any] = {"kind": "quantize", "bits": self.bits, "activations": self.activations}
        if self._of_group is not None:
            entry |= {"group": self._of_group, "activations": "none"}
        if self._packs_embedding:
            entry["embedding_bits"] = self.embedding_bits
        able = modeling.quantizable(encoder.model)
        known = self._statistics(encoder, context, [able[name] for name in names if name != EMBEDDING])
        modules = {}
        for number, name in enumerate(names):
            context.progress.step(number, len(names), "matrices rounded")
            form = modeling.Form.of(encoder.model, name, entry)
            parts = [part for part, _ in modeling.parts_of(able[name], able[name])]
            modules[name] = coded_module(
                able[name], form, self.levels == "k-means", [known.get(id(part)) for part in parts]
            )
        return Coded(entry, modules)

    def _statistics(
        self, encoder: Encoder, context: StepContext, matrices: list[nn.Module]
    ) -> dict[int, MatrixStatistics]:
        """By the identity of a matrix, or of each of its factors; none of those that no text goes through."""
        if self.rounding == "nearest":
            return {}
        names = {id(module): name for name, module in encoder.model.named_modules()}
        parts = {names[id(part)]: part for matrix in matrices for part, _ in modeling.parts_of(matrix, matrix)}
        known = linear_statistics(
            encoder,
            context.task,
            parts,
            samples=max(self.samples, SAMPLES_OF_INPUTS),
            seed=self.seed,
            progress=context.progress,
        )
        return {id(parts[name]): statistics for name, statistics in known.items()}

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

    def _chosen(
        self, encoder: Encoder, context: StepContext, kept: list[str], able: list[str], coded: Coded | None
    ) -> list[str]:
        """First by what each matrix does alone; then one more, as long as all others together change too much."""
        scanner = MatrixScanner(
            encoder, context.task, activations=self.activations, samples=self.samples, seed=self.seed, coded=coded
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
