"""Where a plan's cut falls on the scale of the scores, and which parts are too close to it to be sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from asc_core.errors import UserError
from asc_core.parts import BLOCKS, BLOCKS_OF
from asc_core.plan.parts import Masks, flat_scores, kinds_of, rows_of, slices
from asc_core.values import PartValues, Plan, Scores


def threshold_of(scores: Scores, plan: Plan, kind: str, row: int | None = None) -> float | None:
    """Where on the scale of scores the plan's cut of one kind falls: the line to draw in a histogram.

    The lowest score that stays where the plan keeps the best; otherwise (hand-set cells, a share of each layer) the
    score below which as many parts lie as the plan removes. Just above the highest score where nothing stays. Only
    rows that a kept layer uses count.

    kind: heads, neurons, attention, ffn or layers. row: that row alone. Returns None where there are no such parts.
    Raises: UserError if the method has no scores of that kind or the plan fits another shape.
    """
    flat, kept, rows = _cut(scores, plan, kind)
    counted = rows >= 0 if row is None else rows == row
    return _threshold(flat[counted], kept[counted])


def undecided(scores: Scores, at: Plan | float | Mapping[str, float]) -> PartValues:
    """The parts whose 95 % interval contains the cut: more examples could put them on its other side.

    at: a plan, one threshold, or one for each kind. Where a plan does not cut a kind, nothing of it is undecided;
    where it is not the best of the whole encoder that stays, each row is judged at its own cut.
    Returns boolean arrays in the form of the scores, None for kinds without intervals.
    """
    if scores.low is None or scores.high is None:
        return PartValues()
    found: dict[str, np.ndarray] = {}
    for kind in kinds_of(scores):
        if getattr(scores.low, kind) is None or getattr(scores.high, kind) is None:
            continue
        low = flat_scores(replace(scores, values=scores.low), kind)
        high = flat_scores(replace(scores, values=scores.high), kind)
        if isinstance(at, Plan):
            cut = _cut_of_each(scores, at, kind)
        elif isinstance(at, Mapping):
            if kind not in at:
                continue
            cut = np.full(len(low), at[kind], dtype=np.float64)
        else:
            cut = np.full(len(low), at, dtype=np.float64)
        found[kind] = (low < cut) & (cut <= high)
    as_rows = {k: tuple(v[row] for row in slices(scores.shape, k)) for k, v in found.items() if k in BLOCKS}
    return PartValues(**{**found, **as_rows})  # type: ignore[arg-type]


def _cut(scores: Scores, plan: Plan, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, kept, row) of each part of a kind, all (n,); row is -1 where no kept layer uses it."""
    shape = scores.shape
    if plan.shape != shape:
        raise UserError(f"The plan is for {plan.shape}, the scores are for {shape}.")
    flat, masks = flat_scores(scores, kind), Masks.kept_by(plan)
    if kind == "layers":
        return flat, masks.layers, np.arange(shape.layers)
    used = np.isin(np.arange(len(shape.heads)), [shape.rows[layer] for layer in plan.layers])
    if kind in BLOCKS:
        rows = rows_of(shape, kind)
        return flat, getattr(masks, kind), np.where(used[rows], rows, -1)
    kept = np.array([len(row) > 0 for row in getattr(plan, BLOCKS_OF[kind])])
    return flat, kept, np.where(used, np.arange(len(used)), -1)


def _threshold(flat: np.ndarray, kept: np.ndarray) -> float | None:
    if not flat.size:
        return None
    ranked, gone = np.sort(flat), int((~kept).sum())
    return float(ranked[gone]) if gone < len(ranked) else float(np.nextafter(ranked[-1], np.inf))


def _cut_of_each(scores: Scores, plan: Plan, kind: str) -> np.ndarray:
    """(n,): the threshold that each part was judged by, NaN where there was none."""
    flat, kept, rows = _cut(scores, plan, kind)
    cut = np.full(len(flat), np.nan)
    stay, gone = flat[kept & (rows >= 0)], flat[~kept & (rows >= 0)]
    together = kind not in BLOCKS or not stay.size or not gone.size or gone.max() <= stay.min()
    for counted in [rows >= 0] if together else [rows == row for row in np.unique(rows[rows >= 0])]:
        if kept[counted].any() and not kept[counted].all():
            cut[counted] = _threshold(flat[counted], kept[counted])
    return cut
