"""int8 as a last step, as each format takes it; command line and page ask for it here."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.compress.early_exit import EarlyExit
from asc_core.compress.eliminate import EliminateTokens
from asc_core.compress.factor import Factor
from asc_core.compress.quantize import Quantize
from asc_core.errors import UserError
from asc_core.export import FORMATS
from asc_core.recipes import Recipe
from asc_core.recipes.int8 import activations_for, in_int8, int8_step
from asc_core.values import Plan
from tests.tiny import save_checkpoint, tiny


def test_inputs_are_rounded_where_the_runtime_multiplies_integers() -> None:
    found = {name: activations_for(name) for name in FORMATS}
    assert found.pop("onnx") == "dynamic"
    assert found.pop("dense") is None
    assert set(found.values()) == {"none"}


def test_it_comes_last_and_the_task_chooses() -> None:
    recipe = Recipe.of(Plan.full(tiny().shape))
    made = in_int8(recipe, "onnx")
    assert made.steps[:-1] == recipe.steps
    assert made.steps[-1] == Quantize(choose=True, activations="dynamic")


def test_it_comes_before_tokens_or_texts_leave() -> None:
    for step in (EliminateTokens(keep=0.7), EarlyExit()):
        made = in_int8(Recipe((Factor(), step), task="demo:nli"), "compact")
        assert [one.kind for one in made.steps] == ["factor", "quantize", step.kind]


def test_a_format_without_integers_says_which_has_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dense format holds no integers.*choose compact or weights-only or onnx"):
        int8_step("dense", choose=False)
    source = save_checkpoint(tiny(), tmp_path / "model")
    said = CliRunner().invoke(
        app, ["export", str(source), "--format", "dense", "--int8", "-o", str(tmp_path / "out")], env={"COLUMNS": "200"}
    )
    assert said.exit_code == 2
    assert "holds no integers" in said.output
    assert not (tmp_path / "out").exists()
