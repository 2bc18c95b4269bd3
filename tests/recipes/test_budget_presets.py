"""Budgets by name are budgets."""

from __future__ import annotations

import pytest

from asc_core.errors import UserError
from asc_core.recipes.allocation import Bound
from asc_core.recipes.budget_presets import BUDGET_PRESETS, budget_preset, fastest_runtime
from asc_core.runtimes import installed


@pytest.mark.parametrize("name", BUDGET_PRESETS)
def test_what_a_name_stands_for_can_be_read(name: str) -> None:
    preset = budget_preset(name)
    assert preset.name == name
    if preset.budget:
        assert Bound.parse(preset.budget).most > 0


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match="There is no preset 'tiny'; there are: no-retraining"):
        budget_preset("tiny")


def test_the_fastest_runtime_is_one_that_can_run_here() -> None:
    assert fastest_runtime() in installed()
