"""Results of a metric of one's own belong to what it computes: its text, and the values that it brings along."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, fbeta_score

from asc_core.tasks.own_metric import source_of


def above(limit: float) -> Callable[[Any, Any], float]:
    return lambda gold, decided: float(np.mean(np.asarray(gold) > limit))


def through(inner: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    return lambda gold, decided: inner(gold, decided)


class Weighted:
    def __init__(self, weight: float):
        self.weight = weight

    def __call__(self, gold: Any, decided: Any) -> float:
        return self.weight

    def value(self, gold: Any, decided: Any) -> float:
        return self.weight


def typed(constant: float) -> Any:
    """As typed into a shell: without a file to read its text from."""
    named: dict[str, Any] = {}
    exec(f"def metric(gold, decided): return {constant}", named)
    return named["metric"]


@pytest.mark.parametrize(
    "make",
    [
        above,
        lambda value: partial(fbeta_score, beta=value),
        lambda value: partial(above, value),
        lambda value: through(above(value)),
        Weighted,
        lambda value: Weighted(value).value,
        typed,
        lambda value: above(np.float64(value)),
    ],
)
def test_what_a_function_brings_along_decides(make: Callable[[float], Any]) -> None:
    assert source_of(make(0.5)) != source_of(make(2.0))
    assert source_of(make(0.5)) == source_of(make(0.5))


def test_a_function_that_calls_itself_ends() -> None:
    def metric(gold: Any, decided: Any) -> float:
        return metric(gold[1:], decided[1:]) if len(gold) else 0.0

    assert source_of(metric) == source_of(metric)


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "from sklearn.metrics import cohen_kappa_score; from asc_core.tasks.own_metric import source_of;"
        "names = {'a', 'b', 'c', 'd'};"
        "print(source_of(cohen_kappa_score), source_of((lambda n: lambda g, d: len(n))(names)))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1
    assert source_of(cohen_kappa_score) in runs.pop()
