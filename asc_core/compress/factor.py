"""A step: matrices of the layers in two thin factors each, by truncated singular value decomposition."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from asc_core import modeling
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError


class Factor(Step):
    """Replace matrices by the product of two of low rank, the nearest one there is (Eckart and Young 1936).

    keep: share of a matrix's numbers that its two factors hold; one that would not shrink stays whole. matrices: of the
    attention (query, key, value, output), of the FFN, or all.
    """

    kind: ClassVar[str] = "factor"
    structure: ClassVar[str | None] = "factor"
    keep: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        title="Numbers kept",
        description="Share of each matrix's numbers that its factors hold",
    )
    matrices: Literal["all", "attention", "ffn"] = Field(default="all", description="Which matrices are factored")

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        names = {id(module): name for name, module in encoder.model.named_modules()}
        ranks: list[dict[str, int]] = []
        tensors: dict[str, torch.Tensor] = {}
        for matrices in modeling.factorable(encoder.model, self.matrices):
            ranks.append({})
            for path, module in matrices.items():
                rank = modeling.saving_rank(module, self.keep)
                if rank is not None:
                    ranks[-1][path] = rank
                    tensors |= _factors(names[id(module)], module, rank)
        if not tensors:
            raise UserError(
                f"No matrix of {encoder.name} is left that {self.keep:g} of its numbers could stand for: keep more, or "
                "factor other matrices."
            )
        return encoder.with_structure({"kind": self.structure, "ranks": ranks}, tensors)

    def describe(self) -> str:
        which = {"all": "all", "attention": "the attention's", "ffn": "the FFN's"}[self.matrices]
        return f"{which} matrices in two factors, {100 * self.keep:g} % of their numbers"


def _factors(name: str, module: torch.nn.Module, rank: int) -> dict[str, torch.Tensor]:
    """The factors under the names that they will have; the singular values go half to each."""
    left, values, right = torch.linalg.svd(modeling.matrix(module).detach().double(), full_matrices=False)
    root = values[:rank].sqrt()
    found = {f"{name}.first.weight": root[:, None] * right[:rank], f"{name}.second.weight": left[:, :rank] * root}
    bias = modeling.bias(module)
    return found if bias is None else found | {f"{name}.second.bias": bias.detach()}
