"""One matrix for several layers, in closed form: what it should be, what each layer adds to it, what that costs.

Layer k reads inputs with second moments H_k and multiplies them by W_k; g_k says how much the model's outputs feel
what it writes (the mean of the squared gradients there, see `linear_statistics`). The one matrix W that all use instead
makes sum_k g_k tr((W_k - W) H_k (W_k - W)^T) least: a regression on all layers' inputs at once. What it lacks for layer
k is then made up for by a product of rank r, the best one by the same sum: with S S^T = H_k the truncated singular
value decomposition of (W_k - W) S (SVD-LLM, Wang et al. 2024, arXiv 2403.07378, section 3). The two are found by turns,
each of which can only lower the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from asc_core.compress.linear_statistics import MatrixStatistics, with_ridge

ROUNDS = 4


@dataclass(frozen=True)
class OfLayer:
    """A matrix as one layer has it. weight: (rows, columns). bias: (rows,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    known: MatrixStatistics


@dataclass(frozen=True)
class Merged:
    """weight: (rows, columns). bias: (rows,) where all layers share it. first: (layers, rank, columns), second:
    (layers, rows, rank), biases: (layers, rows) where each has its own. price: the sum that is left, see the module.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    first: torch.Tensor
    second: torch.Tensor
    biases: torch.Tensor | None
    price: float


def merged(layers: Sequence[OfLayer], base: torch.Tensor | None = None) -> Merged:
    """The best matrix and bias for all layers alike. base: (rows, columns), a matrix that is given, whose bias is the
    best one."""
    weighed = [_Weighed.with_bias(layer) for layer in layers]
    weight = _regression(weighed) if base is None else _beside(weighed, base)
    price = sum(one.lost(weight) for one in weighed)
    biased = layers[0].bias is not None
    matrix, bias = (weight[:, :-1], weight[:, -1]) if biased else (weight, None)
    nothing = matrix.new_zeros(len(layers), 0, 0)
    return Merged(matrix, bias, nothing, nothing, None, price)


def merged_with_differences(
    layers: Sequence[OfLayer], rank: int, base: torch.Tensor | None = None, rounds: int = ROUNDS
) -> Merged:
    """One matrix for all, for each layer a difference of at most a rank, and its own bias, which takes over the mean of
    what is lost. base: (rows, columns), a matrix that is given. rounds: in which matrix and differences are found by
    turns, after a first one."""
    weighed = [_Weighed.alone(layer) for layer in layers]
    weight = _regression(weighed) if base is None else base.double()
    parts = [one.nearest(one.weight - weight, rank) for one in weighed]
    for _ in range(rounds if base is None and rank else 0):
        weight = _regression([one.less(second @ first) for one, (first, second) in zip(weighed, parts, strict=True)])
        parts = [one.nearest(one.weight - weight, rank) for one in weighed]
    price, biases = 0.0, []
    for layer, one, (first, second) in zip(layers, weighed, parts, strict=True):
        made = weight + second @ first
        price += one.lost(made)
        if layer.bias is not None:
            biases.append(layer.bias.double() + (one.weight - made) @ layer.known.mean.double())
    firsts, seconds = (torch.stack(each) for each in zip(*parts, strict=True))
    return Merged(weight, None, firsts, seconds, torch.stack(biases) if biases else None, price)


@dataclass(frozen=True)
class _Weighed:
    """weight: (rows, columns), with the bias as one more column where all share it. moments: (columns, columns), H and
    the ridge. root: S, lower triangular. worth: g."""

    weight: torch.Tensor
    moments: torch.Tensor
    root: torch.Tensor
    worth: float

    @staticmethod
    def of(weight: torch.Tensor, moments: torch.Tensor, known: MatrixStatistics) -> _Weighed:
        moments = with_ridge(moments)
        worth = float(known.gradients.double().diagonal().mean())
        return _Weighed(weight, moments, torch.linalg.cholesky(moments), max(worth, 1e-30))

    @staticmethod
    def alone(layer: OfLayer) -> _Weighed:
        """A bias of its own takes over the mean: what counts is the covariance."""
        moments = _on_cpu(layer.known.moments(layer.bias is not None))
        return _Weighed.of(layer.weight.double(), moments, layer.known)

    @staticmethod
    def with_bias(layer: OfLayer) -> _Weighed:
        """A bias that all share is a column of the matrix whose input is 1."""
        if layer.bias is None:
            return _Weighed.alone(layer)
        mean = _on_cpu(layer.known.mean)[:, None]
        moments = torch.cat(
            [torch.cat([_on_cpu(layer.known.inputs), mean], 1), torch.cat([mean.T, mean.new_ones(1, 1)], 1)]
        )
        return _Weighed.of(torch.cat([layer.weight, layer.bias[:, None]], 1).double(), moments, layer.known)

    def less(self, part: torch.Tensor) -> _Weighed:
        return _Weighed(self.weight - part, self.moments, self.root, self.worth)

    def lost(self, weight: torch.Tensor) -> float:
        return self.worth * float(((self.weight - weight) @ self.root).square().sum())

    def nearest(self, lacking: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """((rank, columns), (rows, rank)) whose product is nearest to what is lacking."""
        if not rank:
            return lacking.new_zeros(0, lacking.shape[1]), lacking.new_zeros(lacking.shape[0], 0)
        felt = lacking @ self.root
        if len(felt) <= felt.shape[1]:
            second = _strongest(felt @ felt.T, rank)
            return _balanced(second.T @ lacking, second)
        right = _strongest(felt.T @ felt, rank)
        return _balanced(torch.linalg.solve_triangular(self.root, right.T, upper=False, left=False), felt @ right)


def _strongest(gram: torch.Tensor, rank: int) -> torch.Tensor:
    """(n, rank), the singular vectors of largest value, of a matrix times its own transpose: an eigenvalue problem of
    the shorter side takes a tenth of the time of the whole decomposition."""
    return torch.linalg.eigh(gram).eigenvectors[:, -rank:].flip(1)


def _balanced(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same product, each column of one as large as the row of the other: so both round alike and train alike."""
    scale = (second.norm(dim=0).clamp_min(1e-30) / first.norm(dim=1).clamp_min(1e-30)).sqrt()
    return first * scale[:, None], second / scale


def _regression(layers: Sequence[_Weighed]) -> torch.Tensor:
    """(rows, columns), sum_k g_k W_k H_k times the inverse of sum_k g_k H_k."""
    both = sum(one.worth * one.moments for one in layers)
    wanted = sum(one.worth * (one.weight @ one.moments) for one in layers)
    assert isinstance(both, torch.Tensor)
    assert isinstance(wanted, torch.Tensor)
    return torch.cholesky_solve(wanted.T, torch.linalg.cholesky(both)).T


def _beside(layers: Sequence[_Weighed], base: torch.Tensor) -> torch.Tensor:
    """A given matrix with the best bias as its last column; without a bias the matrix alone."""
    base = base.double()
    if layers[0].weight.shape[1] == base.shape[1]:
        return base
    total = sum(one.worth * one.moments[-1, -1] for one in layers)
    lacking: Any = sum(
        one.worth * ((one.weight[:, :-1] - base) @ one.moments[:-1, -1] + one.weight[:, -1] * one.moments[-1, -1])
        for one in layers
    )
    return torch.cat([base, (lacking / total)[:, None]], 1)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double().cpu()
