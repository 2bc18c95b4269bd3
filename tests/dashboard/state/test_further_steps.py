from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlencode

import pytest

from asc_core.errors import UserError
from asc_core.train.steps import Distil, Finetune
from asc_core.values import Plan
from dashboard.state.cut_settings import CutSettings, recipe_of
from dashboard.state.further_steps import LONGEST_LINK, MOST_STEPS, added, checked, from_link, moved, to_link
from tests.dashboard.steps import Early, Halve
from tests.dashboard.synthetic import SHAPE

PLAN = Plan.full(SHAPE).drop(1, head=2)
REFUSED = "Step 3 of the recipe (toy-early) cannot follow a step of the kind toy-halve: put it before that one."
pytestmark = pytest.mark.usefixtures("toy_steps")


def test_a_link_brings_the_steps_back() -> None:
    then = (Early(), Halve(share=0.25), Distil(steps=5, lr=1e-4), Finetune())
    (text,) = parse_qs(urlencode({"then": to_link(then)}))["then"]
    assert from_link(text) == then
    assert to_link(()) == ""
    assert from_link("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "{}",
        "3",
        "[" * 3000,
        "[3]",
        '[{"step":"unheard-of"}]',
        '[{"step":["distil"]}]',
        '[{"step":"distil","steps":-1}]',
        '[{"step":"distil","surprise":1}]',
        '[{"step":"cut","plan":{}}]',
        '[{"step":"cut-to-budget","keep":0.5}]',
        '[{"step":"toy-halve"},{"step":"toy-early"}]',
        json.dumps([{"step": "finetune"}] * (MOST_STEPS + 1)),
        json.dumps([{"step": "finetune"}]) + " " * LONGEST_LINK,
    ],
)
def test_a_strangers_link_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UserError) as caught:
        from_link(text)
    assert str(caught.value).endswith(".")


def test_an_order_that_makes_no_sense_is_refused_wherever_it_comes_from() -> None:
    assert checked((Early(), Halve())) == (Early(), Halve())
    for refused in (lambda: checked((Halve(), Early())), lambda: moved((Early(), Halve()), 0, 1)):
        with pytest.raises(UserError) as caught:
            refused()
        assert str(caught.value) == REFUSED
    assert moved((Early(), Distil()), 1, 0) == (Distil(), Early())


def test_a_new_step_comes_last_or_before_what_it_cannot_follow() -> None:
    assert added((Halve(),), Distil()) == (Halve(), Distil())
    assert added((Distil(), Halve(), Finetune()), Early()) == (Distil(), Early(), Halve(), Finetune())
    with pytest.raises(UserError, match="At most"):
        added((Halve(),) * MOST_STEPS, Halve())


def test_settings_keep_their_steps_and_give_the_recipe() -> None:
    settings = CutSettings("words", "fisher", then=(Early(), Halve(share=0.25)))
    assert CutSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    recipe = settings.recipe(PLAN)
    assert [step.kind for step in recipe.steps] == ["cut", "toy-early", "toy-halve"]
    assert (recipe.cut, recipe.key != recipe_of(PLAN, "sequential").key) == (PLAN, True)
    assert settings.name == "0.60 fisher, repaired (sequential), then toy-early, then toy-halve"
    assert settings.label == "0.60 fisher · sequential + toy-early + toy-halve 0.25"
    assert replace(settings, then=(Early(), Early(), Early())).label == "0.60 fisher · sequential + 3 steps"


def test_settings_of_a_study_without_steps_or_with_unknown_ones() -> None:
    settings = CutSettings("words", "fisher")
    stored = settings.to_json()
    old = {name: value for name, value in stored.items() if name != "then"}
    assert CutSettings.from_json(old) == settings
    for then in ([{"step": "of another version"}], [{"step": "toy-halve"}, {"step": "toy-early"}], 3):
        assert CutSettings.from_json(stored | {"then": then}) is None
    assert replace(settings, then=(Halve(),)) != settings
