from __future__ import annotations

from typing import ClassVar

import pytest

from asc_core.compress import Cut, Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.recipes import Recipe, registry
from asc_core.train.steps import Finetune
from asc_core.values import Plan
from tests.tiny import tiny


class Round(Step):
    """Adds a structure that nothing can be cut from."""

    kind: ClassVar[str] = "round"
    structure: ClassVar[str | None] = "rounded"

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder

    def describe(self) -> str:
        return "rounded"


CUT = Cut(plan=Plan.full(tiny().shape).drop(0))


def test_an_order_without_sense_is_refused_wherever_a_recipe_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    Recipe((CUT, CUT, Finetune(), Round()))
    says = r"Step 3 of the recipe \(cut\) cannot follow a step of the kind round: put it before that one"
    with pytest.raises(UserError, match=says):
        Recipe((Round(), Finetune(), CUT))
    monkeypatch.setitem(registry.STEPS, "round", Round)
    content = Recipe((CUT, Finetune(), Round())).to_json()
    assert Recipe.from_json(content).steps[2] == Round()
    content["steps"] = [content["steps"][2], content["steps"][1], content["steps"][0]]
    with pytest.raises(UserError, match=says):
        Recipe.from_json(content)


def test_a_structure_says_itself_what_it_may_follow() -> None:
    class Factored(Round):
        kind: ClassVar[str] = "factored"
        structure: ClassVar[str | None] = "factor"

    class Shared(Round):
        kind: ClassVar[str] = "shared"
        structure: ClassVar[str | None] = "share"

    Recipe((CUT, Shared(), Factored(), CUT))
    with pytest.raises(UserError, match=r"\(shared\) cannot follow a step of the kind factored"):
        Recipe((Factored(), Shared()))
