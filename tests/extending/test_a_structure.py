"""A kind of structure that nobody has thought of: its class, a step that adds it, and a line in either registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import GELUActivation

from asc_core.compress import Cut
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.modeling import STRUCTURES, Structure
from asc_core.modeling.structure import Entry, State
from asc_core.recipes import Recipe, registry
from asc_core.values import Plan
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.tiny import tiny


class Relu(Structure):
    """ReLU in place of GELU: {"kind": "relu"}."""

    kind = "relu"
    after = frozenset({"cut", "factor", "share", "vocabulary"})

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        found = [name for name, module in model.named_modules() if isinstance(module, GELUActivation)]
        if not found:
            raise ValueError("it has no GELU")
        for name in found:
            model.set_submodule(name, nn.ReLU())

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        raise ValueError("the original's class applies GELU")


class ToRelu(Step):
    """ReLU in place of GELU, where a runtime is slow at it."""

    kind: ClassVar[str] = "relu"
    structure: ClassVar[str | None] = "relu"

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder.with_structure({"kind": "relu"})

    def describe(self) -> str:
        return "ReLU in place of GELU"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRUCTURES, Relu.kind, Relu())
    monkeypatch.setitem(registry.STEPS, ToRelu.kind, ToRelu)


@pytest.fixture
def encoder() -> Encoder:
    return tiny()


@pytest.fixture
def recipe(encoder: Encoder) -> Recipe:
    return Recipe((Cut(plan=Plan.full(encoder.shape).drop(0, head=1)), ToRelu()))


def activations(encoder: Encoder) -> set[type[nn.Module]]:
    return {type(module) for module in encoder.model.modules() if isinstance(module, (GELUActivation, nn.ReLU))}


@torch.inference_mode()
def answers(encoder: Encoder) -> torch.Tensor:
    ids = torch.arange(24).reshape(2, 12)
    logits: torch.Tensor = encoder.model(input_ids=ids).logits
    return logits


def test_it_changes_the_model_and_leaves_the_original(encoder: Encoder, recipe: Recipe) -> None:
    made = recipe.apply(encoder)
    assert (activations(encoder), activations(made)) == ({GELUActivation}, {nn.ReLU})
    assert made.blueprint != encoder.cut(Plan.full(encoder.shape).drop(0, head=1)).blueprint
    assert (answers(made) - answers(encoder)).abs().max() > 1e-4


@pytest.mark.usefixtures("in_process")
def test_a_compact_export_is_rebuilt_with_it(encoder: Encoder, recipe: Recipe, tmp_path: Path) -> None:
    made = recipe.apply(encoder)
    export(made, tmp_path / "out", recipe=recipe)
    again = load_encoder(tmp_path / "out", device="cpu")
    assert activations(again) == {nn.ReLU}
    torch.testing.assert_close(answers(again), answers(made))
    assert (again.weights, again.blueprint) == (made.weights, made.blueprint)


def test_the_originals_class_is_refused_with_its_reason(encoder: Encoder, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="applies GELU"):
        export(recipe.apply(encoder), tmp_path / "out", "dense")
    assert not (tmp_path / "out").exists()


def test_a_model_that_has_none_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="it has no GELU"):
        ToRelu().apply(tiny("eurobert"), StepContext())


def test_an_order_that_cannot_be_built_is_refused_before_any_step(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="cannot follow a step of the kind relu"):
        Recipe(recipe.steps[::-1])
