"""A step: the table of tokens in another form, which takes a fraction of its bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from asc_core import modeling
from asc_core.compress.codebooks import Coding, block_coding, error, refined, residual_coding
from asc_core.compress.hash_pool import fitted_pool
from asc_core.compress.learned_codes import learned_coding
from asc_core.compress.row_weights import SAMPLES, row_weights
from asc_core.compress.shared_rows import summed_rows
from asc_core.compress.step import Step, StepContext
from asc_core.compress.table_factors import table_factors
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.modeling.codes import MOST_CODEBOOKS
from asc_core.modeling.hashed import MOST_FUNCTIONS
from asc_core.progress import Progress

STRUCTURE_OF = {"codes": "codes", "product": "codes", "hashed": "hashed", "factors": "embedding-factors"}


@dataclass(frozen=True)
class Fitted:
    """tensors: of the structure, by their names in the model. values: (tokens, width), the rows that they stand for.
    how: what of several ways was taken, in words."""

    tensors: dict[str, torch.Tensor]
    values: torch.Tensor
    how: str = ""


class Embedding(Step):
    """Put the word embedding into codes, factors or a shared pool; only the rows that are asked for are ever decoded.

    form: "codes", a row is the sum of one entry of each of `codebooks` (Shu and Nakayama 2018, arXiv 1711.01068);
    "product", those side by side, each of its block of columns; "hashed", a weighted sum of `functions` rows of a pool
    that hash functions name (Svenstrup et al. 2017, arXiv 1709.03933), which is a beginning for training and no more;
    "factors", a table of `rank` columns and a matrix. A factored one can be given codes by a second step.
    weighted: whose errors count: "equal", every row's alike, whatever the application; "use", by how often its training
    texts use a token; "outputs", by what its row does to the model's outputs there. rounds: of choosing codes and
    codebooks (or weights and pool) in turn. learned: steps in which a network learns codes with Gumbel's softmax; they
    are kept where they lose less than k-means. Codebooks, pool and factors are trained by whatever trains the model
    behind it, the codes stay; `quantize` rounds them.
    """

    kind: ClassVar[str] = "embedding"
    structure: ClassVar[str | None] = "codes"
    form: Literal["codes", "product", "hashed", "factors"] = Field(
        default="codes",
        description="Sums of codebooks' entries, entries side by side, rows of a shared pool, or two factors",
    )
    codebooks: int = Field(
        default=32, ge=1, le=MOST_CODEBOOKS, description="Of codes: how many there are; of product: blocks of columns"
    )
    entries: Literal[2, 4, 8, 16, 32, 64, 128, 256] = Field(
        default=16, description="Of each codebook: a code takes as many bits as tell them apart"
    )
    rank: int = Field(default=64, ge=1, description="Of factors: columns of the narrow table")
    pool: float = Field(default=0.1, gt=0, le=1, description="Of hashed: its rows, as a share of the tokens")
    functions: int = Field(
        default=2, ge=1, le=MOST_FUNCTIONS, title="Hash functions", description="Of hashed: rows of the pool a token"
    )
    weighted: Literal["equal", "use", "outputs"] = Field(
        default="equal",
        title="Rows count",
        description="All the same, by their use in the training texts, or by what they do to the outputs there",
        json_schema_extra={"initial": "use"},
    )
    rounds: int = Field(default=4, ge=0, le=100, description="Of codes and codebooks in turn")
    learned: int = Field(
        default=0, ge=0, le=1_000_000, title="Steps of learning", description="Of codes: by a network, see the paper"
    )
    samples: int = Field(default=SAMPLES, ge=8)
    seed: int = Field(default=0, ge=0, lt=1 << 31)

    @property
    def adds(self) -> str:
        return STRUCTURE_OF[self.form]

    @property
    def needs_task(self) -> bool:
        return self.weighted != "equal"

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        lines, entry, bytes_ = self._fitting(encoder)
        weights = torch.ones(len(lines))
        if self.weighted != "equal":
            weights = row_weights(
                encoder, context.task, self.weighted, samples=self.samples, seed=self.seed, progress=context.progress
            )
        fit = {"codes": self._codes, "product": self._codes, "hashed": self._hashed, "factors": self._factors}
        with torch.no_grad():
            found = fit[self.form](encoder, lines, weights, context.progress)
        by = "" if self.weighted == "equal" else " (as they count)"
        context.done = (
            f"{self.describe()}{found.how}: {bytes_ / 1e6:.3g} of {4e-6 * lines.numel():.3g} MB, "
            f"{100 * error(found.values, lines, weights):.2g} % of the rows' squares{by} is lost"
        )
        return encoder.with_structure(entry, found.tensors)

    def describe(self) -> str:
        learned = f", {self.learned} steps of learning" if self.learned and self.form == "codes" else ""
        form = {
            "codes": f"word embedding in {self.codebooks} codebooks of {self.entries} entries{learned}",
            "product": f"word embedding in {self.codebooks} blocks of columns, {self.entries} entries each",
            "hashed": f"word embedding hashed, {self.functions} rows a token of a pool of {100 * self.pool:g} %",
            "factors": f"word embedding of rank {self.rank}",
        }[self.form]
        by = {"equal": "", "use": ", rows weighted by use", "outputs": ", rows weighted by what they do"}[self.weighted]
        return f"{form}{by}"

    def _fitting(self, encoder: Encoder) -> tuple[torch.Tensor, dict[str, Any], int]:
        """(the table (tokens, width), the structure's entry, bytes that it will take).

        Raises: UserError where the table has not the size for it, or would not shrink.
        """
        try:
            _, table = modeling.plain_table(encoder.model)
            entry = self._entry(table.num_embeddings)
            structure = modeling.STRUCTURES[self.adds]
            assert isinstance(structure, modeling.TableStructure)
            with torch.device("meta"):
                bytes_ = modeling.count(structure.table(entry, table)).bytes
        except ValueError as why:
            raise UserError(f"{encoder.name} cannot get this word embedding ({self.form}): {why}.") from None
        lines = table.weight.detach().float().cpu()
        if bytes_ >= 4 * lines.numel():
            less = {"hashed": "a smaller pool", "factors": "a lower rank"}.get(self.form, "fewer codebooks or entries")
            raise UserError(
                f"The word embedding of {encoder.name} takes {4e-6 * lines.numel():.3g} MB, and would take "
                f"{bytes_ / 1e6:.3g} MB ({self.form}): choose {less}."
            )
        return lines, entry, bytes_

    def _entry(self, tokens: int) -> dict[str, Any]:
        if self.form == "factors":
            return {"kind": self.adds, "rank": self.rank}
        if self.form == "hashed":
            return {
                "kind": self.adds,
                "pool": self._pool(tokens),
                "functions": self.functions,
                "seed": self.seed,
            }
        blocks = self.form == "product"
        return {"kind": self.adds, "codebooks": self.codebooks, "entries": self.entries, "blocks": blocks}

    def _pool(self, tokens: int) -> int:
        return max(1, round(self.pool * tokens))

    def _codes(self, encoder: Encoder, lines: torch.Tensor, weights: torch.Tensor, progress: Progress) -> Fitted:
        begin = block_coding if self.form == "product" else residual_coding
        sizes = self.codebooks, self.entries
        found = begin(lines, weights, *sizes, self.seed, _tell(progress, self.codebooks, "codebooks found"))
        found, how = self._refined(lines, weights, found, progress), ""
        if self.learned and self.form == "codes":
            tell = _tell(progress, self.learned, "codes learned")
            other = learned_coding(lines, weights, *sizes, self.learned, self.seed, tell)
            other = self._refined(lines, weights, other, progress)
            lost, lost_learned = found.error(lines, weights), other.error(lines, weights)
            kept = "learned codes" if lost_learned < lost else "codes by k-means"
            how = (
                f" ({kept} are kept: {100 * lost_learned:.3g} % is lost by those learned, {100 * lost:.3g} % by others)"
            )
            found = other if lost_learned < lost else found
        tensors = modeling.codes_tensors(encoder.model, found.codes.to(torch.uint8), found.books, self.entries)
        return Fitted(tensors, found.values(), how)

    def _refined(self, lines: torch.Tensor, weights: torch.Tensor, coding: Coding, progress: Progress) -> Coding:
        return refined(lines, weights, coding, self.rounds, _tell(progress, self.rounds, "rounds of codes"))

    def _hashed(self, encoder: Encoder, lines: torch.Tensor, weights: torch.Tensor, progress: Progress) -> Fitted:
        pool = self._pool(len(lines))
        named = modeling.hashed_rows(torch.arange(len(lines)), pool, self.functions, self.seed)
        tell = _tell(progress, self.rounds, "rounds of weights and pool")
        importance, rows = fitted_pool(lines, weights, named, pool, self.rounds, tell)
        tensors = modeling.hashed_tensors(encoder.model, importance, rows)
        return Fitted(tensors, summed_rows(rows, named, importance))

    def _factors(self, encoder: Encoder, lines: torch.Tensor, weights: torch.Tensor, progress: Progress) -> Fitted:
        first, second = table_factors(lines, weights, self.rank)
        return Fitted(modeling.embedding_factors_tensors(encoder.model, first, second), first @ second.T)


def _tell(progress: Progress, total: int, what: str) -> Callable[[int], None]:
    return lambda done: progress.step(done, total, what)
