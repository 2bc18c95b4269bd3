"""A step: part of the layers' weights set to zero, which saves disk and no time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from asc_core import modeling
from asc_core.compress.linear_statistics import SAMPLES, MatrixStatistics, linear_statistics
from asc_core.compress.second_order import error_of, in_turn, inverse_factor
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError

PATTERNS = {"2:4": (2, 4), "4:8": (4, 8)}  # zeros in so many numbers of a row
ROUNDS = 4  # in which the price is found that as many numbers as were asked for are cheaper than


class Sparsify(Step):
    """Set a share of the layers' weights to zero: zeros save disk and no time on a CPU.

    by: which ones. "magnitude": the smallest. "wanda": the smallest times the size of what they multiply in the
    application's texts (Sun et al. 2023, arXiv 2306.11695). "second-order": those whose loss others can make up for,
    and they do (SparseGPT, Frantar and Alistarh 2023, arXiv 2301.00774, but with one price for a matrix instead of
    a share for each few columns). scope: "global" prices all matrices alike, by
    what a zero does to the model's outputs where texts are looked at; "matrix" takes the share of each (of each row, by
    "wanda"). pattern: "2:4" sets two of each four numbers of a row to zero, "4:8" four of eight.
    The zeros lie as bits beside the numbers that are left and are computed with, so that training them goes on behind
    this step.
    """

    kind: ClassVar[str] = "sparsify"
    structure: ClassVar[str | None] = "sparse"
    share: float = Field(default=0.5, gt=0, lt=1, title="Zeros", description="Share of the layers' weights set to zero")
    by: Literal["second-order", "wanda", "magnitude"] = Field(
        default="second-order",
        description="Which weights go: those that others can make up for, that multiply little, or that are small",
    )
    scope: Literal["global", "matrix"] = Field(
        default="global", description="Whether all matrices together have this share of zeros, or each by itself"
    )
    pattern: Literal["2:4", "4:8"] | None = Field(
        default=None, description="Half of each so many numbers of a row; the share is 0.5 then, and each matrix's own"
    )
    samples: int = Field(default=SAMPLES, ge=8)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _a_pattern_is_half(self) -> Self:
        if self.pattern is not None and self.share != 0.5:
            raise ValueError(f"the pattern {self.pattern} makes half of the weights zero: the share must be 0.5")
        return self

    @property
    def needs_task(self) -> bool:
        return self.by != "magnitude"

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        able = {
            name: module
            for name, module in modeling.sparsifiable(encoder.model).items()
            if modeling.matrix(module).numel()
        }
        if not able:
            raise UserError(f"No matrix of {encoder.name} lies whole, so none can get zeros: put this step first.")
        known = self._statistics(encoder, context, able)
        shares = self._shares(able, known)
        values: dict[str, torch.Tensor] = {}
        biases: dict[str, torch.Tensor | None] = {}
        for number, (name, module) in enumerate(able.items()):
            context.progress.step(number, len(able), "matrices made sparse")
            matrix = modeling.matrix(module).detach()
            found = self._made(self._priced(module, known.get(name)), shares[name])
            values[name], biases[name] = found.to(matrix), modeling.bias(module)
            offset = biases[name]
            if offset is not None and name in known:
                biases[name] = offset.detach() + (matrix - values[name]) @ known[name].mean.to(matrix)
        entry = {"kind": self.structure, "kept": {name: int((one != 0).sum()) for name, one in values.items()}}
        return encoder.with_structure(entry, modeling.sparse_tensors(encoder.model, values, biases))

    def describe(self) -> str:
        which = {"magnitude": "the smallest", "wanda": "those that multiply little", "second-order": "others make up"}
        share = f"{self.pattern} of" if self.pattern is not None else f"{100 * self.share:g} % of"
        each = ", of each matrix" if self.scope == "matrix" and self.pattern is None else ""
        return f"{share} the layers' weights zero ({which[self.by]}{each})"

    def _statistics(
        self, encoder: Encoder, context: StepContext, able: Mapping[str, nn.Module]
    ) -> dict[str, MatrixStatistics]:
        """Of the matrices that a text goes through."""
        if not self.needs_task:
            return {}
        paths = {id(module): path for path, module in encoder.model.named_modules()}
        names = {paths[id(module)]: name for name, module in able.items()}
        known = linear_statistics(
            encoder, context.task, names, samples=self.samples, seed=self.seed, progress=context.progress
        )
        return {names[path]: statistics for path, statistics in known.items()}

    def _shares(self, able: Mapping[str, nn.Module], known: Mapping[str, MatrixStatistics]) -> dict[str, float]:
        """Of each matrix, that all together have `share` zeros: the cheapest of all, by one price for all of them."""
        if self.scope == "matrix" or self.pattern is not None:
            return dict.fromkeys(able, self.share)
        compared = known if self.needs_task else able  # what no text goes through has no price in this currency
        prices = {name: self._priced(able[name], known.get(name)).prices(self.by) for name in compared}
        limit = _smallest(torch.cat([one.flatten() for one in prices.values()]), self.share)
        shares = {name: float((one <= limit).double().mean()) for name, one in prices.items()}
        return dict.fromkeys(able, self.share) | shares

    def _priced(self, module: nn.Module, known: MatrixStatistics | None) -> _Matrix:
        """In a currency that is the same for all matrices where they are compared: the change of the model's outputs
        to first order (see `linear_statistics`)."""
        one = _Matrix.of(module, known)
        if known is None or self.scope == "matrix":
            return one
        return replace(one, rows=known.gradients.diagonal().double().cpu()[:, None])

    def _made(self, one: _Matrix, share: float) -> torch.Tensor:
        """Its values with zeros: those of the way that does least to the outputs, where several are tried."""
        if one.moments is None:
            return one.without(one.mask("magnitude", share, self))
        found = [one.without(one.mask(by, share, self)) for by in self._tried]
        if self.by == "second-order" and self.pattern is not None:
            found.append(in_turn(one.matrix, one.moments, _Pattern(*PATTERNS[self.pattern], one.matrix.shape)))
        elif self.by == "second-order":
            found.append(_at_one_price(one, share))
        return min(found, key=lambda values: one.error(values - one.matrix))

    @property
    def _tried(self) -> tuple[str, ...]:
        return ("wanda", "magnitude") if self.by == "second-order" else (self.by,)


@dataclass(frozen=True)
class _Matrix:
    """matrix: (rows, columns) double. moments: of its inputs, of their covariance where a bias can take over the mean
    of what is lost; None where no text says it. rows: (rows, 1) what a change of each output is worth."""

    matrix: torch.Tensor
    moments: torch.Tensor | None
    rows: torch.Tensor

    @staticmethod
    def of(module: nn.Module, known: MatrixStatistics | None) -> _Matrix:
        moments = None
        if known is not None:
            moments = known.moments(modeling.bias(module) is not None).double().cpu()
        matrix = modeling.matrix(module).detach().double().cpu()
        return _Matrix(matrix, moments, torch.ones(len(matrix), 1, dtype=matrix.dtype))

    def error(self, change: torch.Tensor) -> float:
        assert self.moments is not None
        return error_of(change * self.rows.sqrt(), self.moments)

    def prices(self, by: str) -> torch.Tensor:
        """(rows, columns) what a zero in each place alone costs, by a way of looking at it."""
        if by == "magnitude" or self.moments is None:
            return self.matrix.square()
        if by == "wanda":
            return self.matrix.square() * self.moments.diagonal().clamp_min(0) * self.rows
        upper = inverse_factor(self.moments)
        return self.matrix.square() / upper.square().sum(0) * self.rows  # over the diagonal of H^-1 = U^T U

    def mask(self, by: str, share: float, step: Sparsify) -> torch.Tensor:
        """Which numbers go, (rows, columns) bool."""
        prices = self.prices(by)
        if step.pattern is not None:
            return cheapest_of_each(prices, *PATTERNS[step.pattern])
        if by == "wanda" and step.scope == "matrix":
            count = round(share * prices.shape[1])
            return prices.argsort(1).argsort(1) < count
        return _cheapest(prices, share)

    def without(self, mask: torch.Tensor) -> torch.Tensor:
        return self.matrix.masked_fill(mask, 0.0)


class _Pattern:
    """So many zeros in each few columns: the numbers whose loss the columns behind can best make up for."""

    def __init__(self, zeros: int, of: int, shape: torch.Size):
        self.zeros, self.of = zeros, of
        self.group: int | None = of
        self._gone = torch.zeros(shape, dtype=torch.bool)

    def begin(self, numbers: torch.Tensor, columns: torch.Tensor, pivots: torch.Tensor) -> None:
        self._gone[:, numbers] = cheapest_of_each((columns / pivots).square(), self.zeros, self.of)

    def column(self, number: int, values: torch.Tensor) -> torch.Tensor:
        return values.masked_fill(self._gone[:, number], 0.0)


class _Below:
    """Zeros for all that costs at most a price when its column is due. prices, seen: (rows, columns) what each cost,
    and what it was."""

    group: int | None = 1

    def __init__(self, price: float, rows: torch.Tensor, shape: torch.Size):
        self.price, self._rows = price, rows[:, 0]
        self.prices = torch.zeros(shape, dtype=torch.float64)
        self.seen = torch.zeros(shape, dtype=torch.float64)

    def begin(self, numbers: torch.Tensor, columns: torch.Tensor, pivots: torch.Tensor) -> None:
        self.prices[:, numbers], self.seen[:, numbers] = (columns / pivots).square() * self._rows[:, None], columns

    def column(self, number: int, values: torch.Tensor) -> torch.Tensor:
        return values.masked_fill(self.prices[:, number] <= self.price, 0.0)


def _at_one_price(one: _Matrix, share: float) -> torch.Tensor:
    """The share of zeros, all at one price, which rises while others make up for zeros: it is found in some rounds.

    The few numbers that are still too many or too few at the end are left, or taken, without others that make up.
    """
    assert one.moments is not None
    price = _smallest(one.prices("second-order").flatten(), share)
    for _ in range(ROUNDS):
        rule = _Below(price, one.rows, one.matrix.shape)
        found = in_turn(one.matrix, one.moments, rule)
        price = _smallest(rule.prices.flatten(), share)
    gone = _cheapest(rule.prices, share)
    return torch.where(gone, 0.0, torch.where(rule.prices <= rule.price, rule.seen, found))


def cheapest_of_each(prices: torch.Tensor, zeros: int, of: int) -> torch.Tensor:
    """(rows, columns) bool: the cheapest `zeros` of each `of` numbers of a row; fewer numbers at its end stay."""
    columns = prices.shape[1]
    whole = columns // of * of
    gone = torch.zeros_like(prices, dtype=torch.bool)
    if whole:
        ranks = prices[:, :whole].unflatten(1, (-1, of)).argsort(-1).argsort(-1)
        gone[:, :whole] = (ranks < zeros).flatten(1)
    return gone


def _cheapest(prices: torch.Tensor, share: float) -> torch.Tensor:
    count = round(share * prices.numel())
    order = prices.flatten().argsort(stable=True)
    gone = torch.zeros(prices.numel(), dtype=torch.bool, device=prices.device)
    gone[order[:count]] = True
    return gone.reshape(prices.shape)


def _smallest(prices: torch.Tensor, share: float) -> float:
    """The price up to which a share of all is."""
    count = max(1, round(share * len(prices)))
    return float(prices.kthvalue(min(count, len(prices))).values)
