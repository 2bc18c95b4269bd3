"""All parts with their scores as a table, to sort and to take away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from asc_core.parts import BLOCKS
from asc_core.plan.parts import flat_scores, kinds_of, rows_of
from asc_core.values import Scores, Shape
from dashboard.tables.undecided import PartStates
from dashboard.text.names import PART_NAMES


def parts_table(scores: Scores, cut: PartStates, kinds: Sequence[str]) -> pd.DataFrame:
    """One line a part: kind, layer and number as people count (from 1), score, low, high, rank (1 = contributes most).

    undecided: its interval crosses the cut; removed: it lies below it. Both empty where the kind has no cut.
    """
    tables = [_of_kind(scores, cut, kind) for kind in kinds if kind in kinds_of(scores)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def csv_of(scores: Scores, cut: PartStates, kinds: Sequence[str]) -> bytes:
    table = parts_table(scores, cut, kinds)
    for column in (name for name in ("method", "task", "split", "examples", "labels", "weights") if len(table)):
        table[column] = getattr(scores, column)
    return table.to_csv(index=False).encode()


def _of_kind(scores: Scores, cut: PartStates, kind: str) -> pd.DataFrame:
    flat = flat_scores(scores, kind)
    low, high = (_end(scores, end, kind) for end in ("low", "high"))
    layer, number = _places(scores.shape, kind)
    return pd.DataFrame(
        {
            "kind": PART_NAMES[kind],
            "layer": layer,
            "number": number,
            "score": flat,
            "low": low,
            "high": high,
            "rank": pd.Series(-flat).rank(method="min").astype("Int64"),
            "undecided": _flags(cut.undecided.get(kind), len(flat)),
            "removed": _flags(cut.removed.get(kind), len(flat)),
        }
    )


def _places(shape: Shape, kind: str) -> tuple[np.ndarray, pd.Series]:
    if kind not in BLOCKS:
        count = shape.layers if kind == "layers" else len(shape.heads)
        return np.arange(count) + 1, pd.Series([pd.NA] * count, dtype="Int64")
    rows = rows_of(shape, kind)
    return rows + 1, pd.Series(np.arange(len(rows)) - np.searchsorted(rows, rows) + 1, dtype="Int64")


def _end(scores: Scores, end: str, kind: str) -> np.ndarray:
    values = getattr(scores, end)
    if values is None or getattr(values, kind) is None:
        return np.full(len(flat_scores(scores, kind)), np.nan)
    return flat_scores(replace(scores, values=values), kind)


def _flags(flags: np.ndarray | None, count: int) -> pd.Series:
    return pd.Series([pd.NA] * count if flags is None else flags, dtype="boolean")
