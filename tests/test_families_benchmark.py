"""What `benchmarks.families` concludes from its cells, how the page says it, and what it compares with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from asc_core import modeling
from asc_core.recipes.registry import parse_step
from benchmarks.families import CELLS, MEANS, every_other_layer, magnitude_pruned, report
from benchmarks.report.families import said
from tests.tiny import tiny


def cell(application: str, name: str, lost: float, **of: Any) -> dict[str, Any]:
    usual = {"family": CELLS[name].family, "bytes": 0.25, "flops": 1.0, "lost": lost, "interval": [-1.0, 1.0]}
    return {"application": application, "name": name, **usual, **of}


FOUND = [
    cell("minilm-sick", "int4", 0.2, ahead=1.0),
    cell("minilm-mrpc", "int4", 0.6, ahead=2.0),
    cell("minilm-sick", "12.5 % of the bytes", 0.9, bytes=0.12),
    cell("minilm-sick", "8 % of the bytes", 1.9, bytes=0.09),
]


def test_means_are_over_applications_and_what_was_not_measured_is_none() -> None:
    result = report(FOUND)
    assert result["int4_lost"] == pytest.approx(0.4)
    assert result["bytes_12_lost"] == pytest.approx(0.9)
    assert result["int8_lost"] is None
    assert result["bytes_8_lost"] is None
    assert result["beyond_budget"] == ["8 % of the bytes"]
    four = result["families"][0]
    assert four["ahead"] == pytest.approx(1.5)
    assert four["against"] == "int4, rounded to nearest"


def test_the_page_has_a_line_for_each_and_says_what_was_left_out() -> None:
    text = said(report(FOUND) | {"left_out": {"early exit": "early-exit"}})
    assert "early exit was left out: no step early-exit." in text
    assert "Nothing within 8 % of the bytes was found" in text
    assert (
        "| int4 | 25.0 % | 100.0 % | 0.2 [-1.0, 1.0] | 0.6 [-1.0, 1.0] | 0.4 | int4, rounded to nearest: 1.5 |" in text
    )


def test_every_cell_is_something_and_what_it_is_compared_with_is_a_cell() -> None:
    for name, one in CELLS.items():
        assert one.steps or one.budget or one.own or one.onnx, name
        assert not one.against or one.against in CELLS
        if not one.lacking:
            for step in one.steps:
                parse_step(step, name)
    assert set(MEANS.values()) <= set(CELLS)


def test_the_baselines_are_what_their_libraries_and_papers_say() -> None:
    encoder = tiny()
    zeros = magnitude_pruned(encoder)
    weights = [modeling.matrix(m).flatten() for row in modeling.factorable(zeros.model, "all") for m in row.values()]
    every = torch.cat(weights)
    assert (every == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    before = [modeling.matrix(m).flatten() for row in modeling.factorable(encoder.model, "all") for m in row.values()]
    assert torch.cat(before).abs()[every == 0].max() <= every[every != 0].abs().min()
    assert modeling.origin(every_other_layer(encoder).model.config).layers == tuple(range(0, encoder.shape.layers, 2))
