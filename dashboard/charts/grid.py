"""Scores as the map draws them: one row a set of layer weights, columns for heads, the FFN and the whole layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asc_core.plan import Part
from asc_core.values import PartValues, Scores, Shape

COLUMNS = ("heads", "ffn", "layers")
HEAVY_TAIL = 20.0
MOST_DECADES = 6.0


@dataclass(frozen=True)
class Grid:
    """heads: (rows, most heads of a row), NaN where a row has fewer. ffn, layers: (rows, 1). All NaN where the method
    says nothing about that kind of part."""

    heads: np.ndarray
    ffn: np.ndarray
    layers: np.ndarray

    def column(self, kind: str) -> np.ndarray:
        return getattr(self, kind)

    def map(self, other: Grid, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Grid:
        return Grid(*(rule(self.column(kind), other.column(kind)) for kind in COLUMNS))

    def flat(self, kinds: Sequence[str] = COLUMNS) -> np.ndarray:
        return np.concatenate([self.column(kind).ravel() for kind in kinds])


def grid(values: PartValues, shape: Shape) -> Grid:
    """The FFN column holds the sublayer's score, or where there is none the mean of its neurons'. Where several layers
    run on the weights of one row, the layer column holds their mean."""
    rows = len(shape.heads)
    heads = np.full((rows, max(shape.heads, default=0)), np.nan)
    for row, scores in enumerate(values.heads or ()):
        heads[row, : len(scores)] = scores
    ffn = np.full((rows, 1), np.nan)
    if values.ffn is not None:
        ffn[:, 0] = values.ffn
    elif values.neurons is not None:
        ffn[:, 0] = [scores.mean() if len(scores) else np.nan for scores in values.neurons]
    layers = np.full((rows, 1), np.nan)
    if values.layers is not None:
        of_row = np.asarray(shape.rows)
        layers[:, 0] = [values.layers[of_row == row].mean() if (of_row == row).any() else np.nan for row in range(rows)]
    return Grid(heads, ffn, layers)


def ranks(of: Grid) -> Grid:
    """Each part's place among its kind in this grid, from 0 (lowest) to 1 (highest); ties share their mean place."""
    return Grid(*(_ranks(of.column(kind)) for kind in COLUMNS))


def shades(grids: Sequence[Grid]) -> tuple[list[Grid], bool]:
    """(grids on one scale from 0 to 1, whether it is logarithmic): equal colour = equal score within a kind of part."""
    logarithmic = any(_heavy_tailed(grids, kind) for kind in COLUMNS)
    scaled = []
    ends = {kind: _ends(grids, kind, logarithmic) for kind in COLUMNS}
    for one in grids:
        scaled.append(Grid(*(_between(one.column(kind), *ends[kind], logarithmic) for kind in COLUMNS)))
    return scaled, logarithmic


def parts(shape: Shape, kind: str) -> list[list[Part | None]]:
    """For every cell of a column the part that it stands for, None where a row has no such head."""
    if kind == "heads":
        most = max(shape.heads, default=0)
        return [
            [Part("heads", row, n) if n < count else None for n in range(most)] for row, count in enumerate(shape.heads)
        ]
    return [[Part(kind, row)] for row in range(len(shape.heads))]


def value_at(of: Grid, part: Part) -> float:
    return float(of.column(part.kind)[part.row, part.number or 0])


def interval_grids(scores: Scores) -> tuple[Grid, Grid] | None:
    """The ends of the 95 % intervals of all cells, NaN where there is none; None where the method has none at all."""
    if scores.low is None or scores.high is None:
        return None
    low, high = (grid(end, scores.shape) for end in (scores.low, scores.high))
    if scores.low.ffn is None:  # the mean of neurons has no interval of its own
        nothing = np.full_like(low.ffn, np.nan)
        low, high = replace(low, ffn=nothing), replace(high, ffn=nothing)
    return low, high


def interval_at(ends: tuple[Grid, Grid] | None, part: Part) -> tuple[float, float] | None:
    if ends is None:
        return None
    low, high = (value_at(end, part) for end in ends)
    return None if np.isnan([low, high]).any() else (low, high)


def _ranks(values: np.ndarray) -> np.ndarray:
    placed = np.full(values.shape, np.nan)
    present = ~np.isnan(values)
    found = values[present]
    if found.size:
        ordered = np.sort(found)
        middle = (np.searchsorted(ordered, found, "left") + np.searchsorted(ordered, found, "right") - 1) / 2
        placed[present] = middle / max(found.size - 1, 1)
    return placed


def _all(grids: Sequence[Grid], kind: str) -> np.ndarray:
    found = np.concatenate([one.column(kind).ravel() for one in grids]) if grids else np.empty(0)
    return found[~np.isnan(found)]


def _heavy_tailed(grids: Sequence[Grid], kind: str) -> bool:
    found = _all(grids, kind)
    return found.size > 4 and found.min() >= 0 and found.max() > HEAVY_TAIL * max(float(np.median(found)), 1e-300)


def _ends(grids: Sequence[Grid], kind: str, logarithmic: bool) -> tuple[float, float]:
    found = _all(grids, kind)
    if logarithmic:
        found = np.log10(found[found > 0])
        found = np.maximum(found, found.max(initial=-np.inf) - MOST_DECADES)
    return (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)


def _between(values: np.ndarray, low: float, high: float, logarithmic: bool) -> np.ndarray:
    if logarithmic:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(np.isnan(values), np.nan, np.maximum(np.log10(values), low))
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(values), np.nan, 0.5)
