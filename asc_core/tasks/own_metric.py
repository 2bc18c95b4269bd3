"""A metric of one's own: a function of what is right and what was decided."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from asc_core.errors import UserError, first_line
from asc_core.tasks.base import Metric
from asc_core.tasks.metrics import Measure, mean_of

OwnMetric = Callable[[Any, Any], float]
Decides = Literal["classes", "sets", "numbers", "one by one"]
_UNBOUNDED = (-math.inf, math.inf)


def measure_of(metric: OwnMetric, decides: Decides, width: int = 1) -> Measure:
    """metric(gold, decided) -> a number, the higher the better.

    For classes both are (n,) numbers of classes in the order of `Task.labels` (-1 = a class that the task does not
    have), for sets of labels (n, width) 0 and 1, for numbers (n,): it is called with all examples, as scikit-learn's
    metrics are, and again for each draw of the bootstrap. What is decided "one by one" (lists of tags, answers) it is
    called with for each example, and the metric is the mean.
    """
    name = name_of(metric)
    if decides == "one by one":
        return mean_of(name, ("value", "examples"), 0, lambda decided, gold: _each(metric, name, gold, decided))

    def side_by_side(decided: Any, gold: Any) -> np.ndarray:
        both = [np.asarray(each, dtype=np.float64).reshape(len(gold), width) for each in (gold, decided)]
        return np.concatenate(both, 1)

    def from_rows(rows: np.ndarray) -> float:
        rows = rows if decides == "numbers" else rows.astype(int)
        gold, decided = rows[:, :width], rows[:, width:]
        if decides != "sets":
            gold, decided = gold[:, 0], decided[:, 0]
        return _number(metric, name, gold, decided)

    columns = tuple(f"{side}.{place}" for side in ("gold", "decided") for place in range(width))
    return Measure(Metric(name, columns, from_rows=from_rows, bounds=_UNBOUNDED), side_by_side)


def name_of(metric: OwnMetric) -> str:
    name = getattr(metric, "__name__", type(metric).__name__)
    return "metric" if name == "<lambda>" else name


def _each(metric: OwnMetric, name: str, gold: Sequence[Any], decided: Sequence[Any]) -> np.ndarray:
    return np.asarray([(_number(metric, name, g, d), 1.0) for g, d in zip(gold, decided, strict=True)])


def _number(metric: OwnMetric, name: str, gold: Any, decided: Any) -> float:
    try:
        value = metric(gold, decided)
    except Exception as error:  # somebody else's function may raise anything
        raise UserError(
            f"The metric {name} fails ({type(error).__name__}: {first_line(error)}): it is called with what is right "
            "and what was decided, and gives one number."
        ) from error
    try:
        return float(value)  # NaN where it is not defined, as for a draw of the bootstrap with one class alone
    except (TypeError, ValueError):
        raise UserError(
            f"The metric {name} gives {value!r:.60}, not a number: it is to give one for all examples."
        ) from None


def source_of(metric: OwnMetric) -> str:
    """By which a changed function is told from the one before it: results belong to what it computes."""
    code = getattr(metric, "__code__", None)
    text = repr((code.co_code, code.co_names)) if code is not None else repr(type(metric))
    with contextlib.suppress(OSError, TypeError):  # typed into a shell, or not written in Python
        text += inspect.getsource(metric)
    return name_of(metric) + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
