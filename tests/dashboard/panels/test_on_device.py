"""What the page says of a model for a device, and what a preset fills in."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from asc_core.recipes import Recipe
from asc_core.recipes.allocation import Bound
from asc_core.recipes.on_device import SIZES, Fit
from dashboard.measuring.on_device import OnDevice
from dashboard.panels.allocation import AXES, PRESETS, bound_of
from dashboard.panels.on_device import estimates_table, parts_table, size_html
from tests.dashboard.synthetic import estimate

FOUND = OnDevice(Fit(SIZES[4], 822_390, True), 82_239_000, Recipe(()))


def test_bytes_are_exact_and_it_is_said_what_they_are_of() -> None:
    assert "<b>822,390 bytes</b> of one file, tokenizer included" in size_html(FOUND)
    assert "<b>99.00 %</b> less" in size_html(FOUND)
    weights = size_html(replace(FOUND, fit=replace(FOUND.fit, of_file=False)))
    assert "of weights alone" in weights
    assert "tokenizer" not in weights


def test_what_is_lost_is_the_original_less_what_is_here() -> None:
    shown = estimates_table([estimate(0.9, difference=-0.02), estimate(0.8, difference=0.03)])
    assert "<td>92.0 %</td><td>90.0 %</td><td><b>2.00</b>" in shown
    assert "[1.00, 3.00]" in shown
    assert "<td>77.0 %</td><td>80.0 %</td><td><b>−3.00</b>" in shown
    assert "Validation texts chose" in shown


def test_parts_add_up() -> None:
    shown = parts_table({"words": 900, "tokenizer & structure": 100})
    assert "<b>1,000</b>" in shown
    assert "tokenizer &amp; structure" in shown
    assert re.findall(r"(\d+)%", shown) == ["90", "10"]


@pytest.mark.parametrize("axis", AXES)
def test_no_amount_is_all_of_the_original(axis: str) -> None:
    assert bound_of(axis, None) == Bound.parse(axis)  # type: ignore[arg-type]


def test_presets_of_one_budget_need_no_further_form() -> None:
    assert all(preset.budget != "bytes=900k" for preset in PRESETS.values())
    assert bound_of("flops", 50.0) == Bound.parse(PRESETS["half"].budget)
