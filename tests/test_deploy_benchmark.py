"""What `benchmarks.deploy` concludes from its cells, and how the page says it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.deploy import REACH, best, means, of_int8
from benchmarks.report.deployment import said


def cell(checkpoint: str, runtime: str = "onnxruntime", **of: Any) -> dict[str, Any]:
    usual = {"kept": 1.0, "int8": False, "vocabulary": False, "mb": 90.0, "lost": 0.0, "fast": 1.0} | of
    fast = usual.pop("fast")
    times = {"ms": {REACH: 30 / fast}, "speedup": {REACH: fast}, "lost_interval": [-1.0, 1.0]}
    return {"checkpoint": checkpoint, "runtime": runtime, **usual, **times}


def cells(**of: Any) -> list[dict[str, Any]]:
    return [cell("minilm-sick", **of), cell("minilm-squad", **of)]


DENSE = cells() + cells(runtime="torch")
SMALL = [
    cell("minilm-sick", kept=0.5, int8=True, vocabulary=True, mb=7.0, lost=0.2, fast=4.0),
    cell("minilm-squad", kept=0.5, int8=True, vocabulary=True, mb=8.0, lost=1.6, fast=9.0),
]
SMALLER = cells(kept=0.35, int8=True, vocabulary=True, mb=5.5, lost=1.9, fast=7.0)


def test_means_are_over_all_applications_and_of_speeds_geometric() -> None:
    (found,) = means(SMALL)
    assert (found["mb"], found["lost"], found["speedup"]) == (7.5, 0.9, 6.0)
    assert means([*SMALL, cell("minilm-sick", kept=0.7)]) == [found], "what not all applications have is no mean"


def test_the_best_is_the_fastest_of_the_small_and_the_smallest_where_none_is_small() -> None:
    faster = cells(kept=0.5, int8=True, mb=20.0, lost=0.5, fast=9.0)
    found = best([*DENSE, *SMALL, *SMALLER, *faster])
    assert found["best_at_1_point"]["mb"] == 7.5
    assert found["best_at_2_points"]["mb"] == 5.5
    assert best([*DENSE, *faster])["best_at_1_point"]["mb"] == 20.0


def test_int8_is_compared_with_the_same_model_in_float32_in_the_same_runtime() -> None:
    half = cells(kept=0.5, vocabulary=True, lost=0.1, fast=5.0)
    found = of_int8([*DENSE, *half, *SMALL])
    assert found["int8_worst_lost"] == pytest.approx(1.5)
    assert found["int8_slower"] == [f"minilm-sick 0.5 vocabulary onnxruntime {REACH}"]
    assert of_int8(DENSE) == {"int8_worst_lost": None, "int8_slower": []}


def test_the_page_says_what_was_left_out_and_what_was_caught() -> None:
    everything = [*DENSE, *SMALL, *SMALLER]
    result = {"left_out": ["openvino"], "cells": everything, "means": means(everything), "corruptions": 200}
    text = said(result | best(everything) | of_int8(everything) | {"corruptions_caught": 200})
    assert "Left out here: openvino." in text
    assert "200 were caught" in text
    assert "| 0.5 | yes | yes | onnxruntime | 7.5 | 6.00 | 0.2 [-1.0, 1.0] | 1.6 [-1.0, 1.0] | 0.9 |" in text
    assert "At most 1 point lost on average" in text
