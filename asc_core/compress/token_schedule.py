"""How many of a text's tokens enter each layer: schedules within a budget of FLOPs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.plan.encoder_cost import cost_model

STEP = 50  # thousandths between two shares that are tried
SHARES = tuple(range(STEP, modeling.PARTS + 1, STEP))
_HALVINGS = 60

Schedule = tuple[int, ...]  # for each layer, thousandths of a text's tokens


def flops_table(encoder: Encoder, lengths: np.ndarray) -> np.ndarray:
    """(layers, shares) FLOPs of each layer, summed over texts, where so many of `SHARES` enter it."""
    model, layers = cost_model(encoder, lengths), encoder.shape.layers
    table = np.zeros((layers, len(SHARES)))
    for column, share in enumerate(SHARES):
        shorter = replace(model, layer_lengths=(modeling.kept_tokens(np.asarray(lengths), share),) * layers)
        for layer in range(layers):
            unit = shorter.unit_costs("flops", np.arange(layers) == layer)
            widths = (*encoder.shape.heads, *encoder.shape.neurons)
            table[layer, column] = unit.fixed + sum(
                n * cost for n, cost in zip(widths, unit.heads + unit.neurons, strict=True)
            )
    return table


def cheapest(prices: np.ndarray, flops: np.ndarray, budget: float) -> Schedule | None:
    """The schedule of least price within a budget; None where no schedule is.

    prices: (layers - 1, shares), for each layer from the second on what the leaving of all tokens beyond a share costs.
    A token that leaves below layer l costs what it costs there, however many have left before: so the price of going
    from one share to a smaller one is the difference of the two, and a dynamic program finds the least sum of prices
    and FLOPs times a multiplier, which is found by halving. What is left of the budget then goes where it spares most.
    """
    columns = flops.shape[1] - 1
    if flops[0, columns] + flops[1:, 0].sum() > budget:
        return None
    low, high = 0.0, 1.0
    while _cost(flops, _least(prices, flops, high)) > budget:
        high *= 4
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        within = _cost(flops, _least(prices, flops, middle)) <= budget
        low, high = (low, middle) if within else (middle, high)
    return tuple(SHARES[column] for column in _filled(prices, flops, budget, _least(prices, flops, high)))


def geometric(flops: np.ndarray, budget: float) -> Iterator[Schedule]:
    """From each layer on the same share of the tokens leaves again and again, the largest schedules within a budget."""
    layers = len(flops)
    for first in range(1, layers):
        low, high, found = 0.0, 1.0, None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            columns = _of_ratio(middle, first, layers)
            if _cost(flops, columns) <= budget:
                low, found = middle, columns
            else:
                high = middle
        if found is not None:
            yield tuple(SHARES[column] for column in found)


def _of_ratio(ratio: float, first: int, layers: int) -> list[int]:
    kept = [ratio ** max(0, layer - first + 1) for layer in range(layers)]
    return [max(0, int(share * modeling.PARTS + 1e-9) // STEP - 1) for share in kept]


def _cost(flops: np.ndarray, columns: Sequence[int]) -> float:
    return float(flops[np.arange(len(flops)), list(columns)].sum())


def _least(prices: np.ndarray, flops: np.ndarray, multiplier: float) -> list[int]:
    """The column of each layer at the least sum of prices and multiplier * FLOPs, shares never rising."""
    layers, shares = flops.shape
    scaled = multiplier * flops / flops.sum()
    best = np.full(shares, np.inf)
    best[-1] = scaled[0, -1]
    came_from = np.zeros((layers, shares), dtype=int)
    for layer in range(1, layers):
        price = prices[layer - 1]
        through = np.tile(best - price, (shares, 1))  # (to, from)
        through[np.tril_indices(shares, -1)] = np.inf  # from a smaller share to a larger one
        came_from[layer] = through.argmin(1)
        best = through.min(1) + price + scaled[layer]
    column = int(best.argmin())
    found = [column]
    for layer in range(layers - 1, 0, -1):
        column = int(came_from[layer, column])
        found.append(column)
    return found[::-1]


def _filled(prices: np.ndarray, flops: np.ndarray, budget: float, columns: list[int]) -> list[int]:
    """With what is left of a budget spent, one step of one layer at a time."""
    while True:
        able = []
        for layer in range(1, len(columns)):
            if columns[layer] < columns[layer - 1]:
                more = [*columns[:layer], columns[layer] + 1, *columns[layer + 1 :]]
                if _cost(flops, more) <= budget:
                    able.append((_price(prices, columns) - _price(prices, more), more))
        if not able:
            return columns
        columns = max(able)[1]


def _price(prices: np.ndarray, columns: Sequence[int]) -> float:
    pairs = pairwise(columns)
    return float(sum(prices[layer, now] - prices[layer, below] for layer, (below, now) in enumerate(pairs)))
