"""A step: matrices of the layers in two thin factors each, by truncated singular value decomposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from asc_core import modeling
from asc_core.compress.linear_statistics import SAMPLES, MatrixStatistics, linear_statistics, with_ridge
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError


class Factor(Step):
    """Replace matrices by the product of two of low rank, the nearest one there is (Eckart and Young 1936).

    keep: share of the matrices' numbers that their factors hold. matrices: of the attention (query, key, value,
    output), of the FFN, or all. nearest: in what sense.
    "weights": by the squares of their numbers, each matrix with the same share; one that would not shrink stays whole.
    "inputs": by the squares of what the matrices write on the application's texts (data-aware decomposition, Chen
    et al. 2021, DRONE). "outputs": by what that changes in the model's outputs, see `linear_statistics`; and the ranks
    of all matrices are chosen together, so that the numbers go where they spare most. A bias takes over the mean of
    what is lost; a matrix that no text goes through (DeBERTa's of positions) stays whole.
    """

    kind: ClassVar[str] = "factor"
    structure: ClassVar[str | None] = "factor"
    keep: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        title="Numbers kept",
        description="Share of the matrices' numbers that their factors hold",
    )
    matrices: Literal["all", "attention", "ffn"] = Field(default="all", description="Which matrices are factored")
    nearest: Literal["weights", "inputs", "outputs"] = Field(
        default="weights",
        title="Nearest by",
        description="The matrices' own numbers, what they write on the application's texts, or the model's outputs",
        json_schema_extra={"initial": "outputs"},
    )
    samples: int = Field(default=SAMPLES, ge=8)
    seed: int = Field(default=0, ge=0)

    @property
    def needs_task(self) -> bool:
        return self.nearest != "weights"

    def cache_key(self) -> Any:
        """By the matrices' own numbers it is what it was before there was another way."""
        said = self.model_dump(mode="json")
        if self.nearest == "weights":
            said = {name: said[name] for name in ("keep", "matrices")}
        return [self.kind, said]

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        names = {id(module): name for name, module in encoder.model.named_modules()}
        rows = modeling.factorable(encoder.model, self.matrices)
        found = {names[id(module)]: module for row in rows for module in row.values() if _has_numbers(module)}
        if self.nearest == "weights":
            ranks = {name: modeling.saving_rank(module, self.keep) for name, module in found.items()}
            every = {name: _Decomposed.of(found[name], None, self.nearest) for name, rank in ranks.items() if rank}
        else:
            known = linear_statistics(
                encoder, context.task, found, samples=self.samples, seed=self.seed, progress=context.progress
            )
            every = {name: _Decomposed.of(found[name], known[name], self.nearest) for name in known}
            ranks = ranks_within(every, self.keep)
        tensors: dict[str, torch.Tensor] = {}
        for name, rank in ranks.items():
            if rank is not None:
                tensors |= every[name].factors(name, found[name], rank)
        if not tensors:
            raise UserError(
                f"No matrix of {encoder.name} is left that {self.keep:g} of its numbers could stand for: keep more, or "
                "factor other matrices."
            )
        entry = [{path: rank for path, m in row.items() if (rank := ranks.get(names[id(m)]))} for row in rows]
        return encoder.with_structure({"kind": self.structure, "ranks": entry}, tensors)

    def describe(self) -> str:
        which = {"all": "all", "attention": "the attention's", "ffn": "the FFN's"}[self.matrices]
        by = {"weights": "", "inputs": ", nearest on the texts", "outputs": ", nearest by the model's outputs"}
        return f"{which} matrices in two factors, {100 * self.keep:g} % of their numbers{by[self.nearest]}"


@dataclass(frozen=True)
class _Decomposed:
    """A matrix W in weighted singular values: of R^T W S, where S S^T is the inputs' second moment and R R^T the
    gradients'. prices: (n,) what is lost with each value, descending."""

    left: torch.Tensor  # (rows, n) R^-T U
    values: torch.Tensor  # (n,)
    right: torch.Tensor  # (n, columns) V^T S^-1
    mean: torch.Tensor | None

    @staticmethod
    def of(module: nn.Module, known: MatrixStatistics | None, nearest: str) -> _Decomposed:
        matrix = modeling.matrix(module).detach().double()
        if known is None:
            left, values, right = torch.linalg.svd(matrix, full_matrices=False)
            return _Decomposed(left, values, right, None)
        biased = modeling.bias(module) is not None
        inputs = _root(known.moments(biased))
        outputs = _root(known.gradients) if nearest == "outputs" else None
        weighted = matrix @ inputs
        if outputs is not None:
            weighted = outputs.T @ weighted
        left, values, right = torch.linalg.svd(weighted, full_matrices=False)
        right = torch.linalg.solve_triangular(inputs, right, upper=False, left=False)
        if outputs is not None:
            left = torch.linalg.solve_triangular(outputs.T, left, upper=True)
        return _Decomposed(left, values, right, known.mean.double() if biased else None)

    @property
    def prices(self) -> np.ndarray:
        return self.values.square().cpu().numpy()

    def factors(self, name: str, module: nn.Module, rank: int) -> dict[str, torch.Tensor]:
        """Under the names that they will have; the singular values go half to each."""
        weight = modeling.matrix(module)
        root = self.values[:rank].sqrt()
        first, second = root[:, None] * self.right[:rank], self.left[:, :rank] * root
        found = {f"{name}.first.weight": first.to(weight.dtype), f"{name}.second.weight": second.to(weight.dtype)}
        bias = modeling.bias(module)
        if bias is None:
            return found
        bias = bias.detach()
        if self.mean is not None:
            lost = weight.detach().double() @ self.mean - second @ (first @ self.mean)
            bias = bias + lost.to(bias.dtype)
        return found | {f"{name}.second.bias": bias}


def ranks_within(every: Mapping[str, _Decomposed], keep: float) -> dict[str, int | None]:
    """Rank of each matrix, None = whole, so that all hold the share `keep` of their numbers and the least is lost.

    A rank costs rows + columns numbers and spares its singular value squared; the dearest for their cost are kept. A
    matrix whose factors would hold as much as it does stays whole.
    """
    sizes = {name: (one.left.shape[0], one.right.shape[1]) for name, one in every.items()}
    total = sum(rows * columns for rows, columns in sizes.values())
    units: list[tuple[float, str, int]] = []
    for name, one in every.items():
        cost = sum(sizes[name])
        units += [(-price / cost, name, number) for number, price in enumerate(one.prices.tolist())]
    ranks: dict[str, int | None] = dict.fromkeys(every, 0)
    left = keep * total
    for _, name, number in sorted(units):
        rows, columns = sizes[name]
        held = ranks[name]
        if held is None or number != held:
            continue  # whole, or a dearer rank of it found no room
        saves = (held + 1) * (rows + columns) < rows * columns
        cost = rows + columns if saves else rows * columns - held * (rows + columns)
        if cost <= left:
            left -= cost
            ranks[name] = held + 1 if saves else None
    return {name: max(rank, 1) if rank is not None else None for name, rank in ranks.items()}


def _has_numbers(module: nn.Module) -> bool:
    return modeling.rows_of_matrix(module) > 0 and modeling.columns_of(module) > 0


def _root(moments: torch.Tensor) -> torch.Tensor:
    """Lower triangular L with L L^T = the moments, and a little more."""
    return torch.linalg.cholesky(with_ridge(moments))
