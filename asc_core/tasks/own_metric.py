"""A metric of one's own: a function of what is right and what was decided."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
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
    """By which a changed function is told from the one before it: results belong to what it computes, by its text and
    the values that it brings along."""
    text = json.dumps(_decides(metric, ()), sort_keys=True, default=_in_words)
    return name_of(metric) + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _decides(metric: Any, around: tuple[Any, ...]) -> list[Any]:
    """around: the functions that bring this one along, of which it may be one."""
    if any(metric is one for one in around):
        return []
    around = (*around, metric)
    if isinstance(metric, functools.partial):
        return ["partial", _decides(metric.func, around), *_values([*metric.args, *metric.keywords.items()], around)]
    code = getattr(metric, "__code__", None)
    of = getattr(metric, "__self__", metric)  # of a method: the object
    found: list[Any] = [type(metric).__qualname__]
    if code is not None:
        function = getattr(metric, "__func__", metric)
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
        constants = [constant for constant in code.co_consts if not inspect.iscode(constant)]
        closed = [_content(cell) for cell in function.__closure__ or ()]
        found += [code.co_code.hex(), code.co_names, *_values([*constants, *defaults, *closed], around)]
    if code is None or of is not metric:
        found += _values(list(getattr(of, "__dict__", {}).items()), around)
    with contextlib.suppress(OSError, TypeError):  # typed into a shell, or not written in Python
        found.append(inspect.getsource(metric if code is not None else type(metric)))
    return found


def _values(values: Sequence[Any], around: tuple[Any, ...]) -> list[Any]:
    return [_decides(value, around) if inspect.isroutine(value) else value for value in values]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _in_words(value: Any) -> str:
    """The same in every process: no addresses, no order that is drawn anew."""
    if isinstance(value, set | frozenset):
        return " ".join(sorted(map(repr, value)))
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype) + value.tobytes().hex()
    return type(value).__qualname__
