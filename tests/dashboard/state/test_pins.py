from __future__ import annotations

from dataclasses import replace

from asc_core.recipes import Recipe
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.state.cut_settings import CutSettings
from dashboard.state.pins import keep_settings, pin, settings_of_pin, settings_of_plan
from tests.dashboard.synthetic import SHAPE

SETTINGS = CutSettings("words", "fisher")


def test_a_plan_from_elsewhere_becomes_fixed_settings(study: Study) -> None:
    plan = Plan.full(SHAPE).drop(1, head=2)
    study.save_plan(plan)
    settings = settings_of_plan(study, plan.key, "words", "fisher")
    assert settings == CutSettings("words", "fisher", rule="fixed", plan_key=plan.key, repair="none")
    assert settings_of_plan(study, "unknown", "words", "fisher") is None


def test_a_plan_that_suits_two_applications_opens_the_one_that_was_asked_for(study: Study) -> None:
    plan = Plan.full(SHAPE).drop(0)
    mine, other = replace(SETTINGS, keep=0.55), replace(SETTINGS, application="other", method="asc-b", keep=0.7)
    for settings in (mine, other):
        keep_settings(study, plan, settings)
    assert settings_of_plan(study, plan.key, mine.application, "fisher") == mine
    assert settings_of_plan(study, plan.key, "other", "asc-b") == other
    assert settings_of_plan(study, plan.key, "", "") == other, "the latest"
    third = settings_of_plan(study, plan.key, "third", "fisher")
    assert third is not None
    assert (third.application, third.rule) == ("third", "fixed")


def test_one_plan_under_two_names_keeps_the_settings_of_each(study: Study) -> None:
    plan = Plan.full(SHAPE).drop(0)
    both = {"with": SETTINGS, "without": replace(SETTINGS, repair="none")}
    for name, settings in both.items():
        pin(study, name, plan, settings)
    assert {name: settings_of_pin(study, name, plan, "", "") for name in both} == both
    other = Plan.full(SHAPE).drop(1)
    study.save_recipe(Recipe.of(other), "with")
    study.save_plan(other)
    found = settings_of_pin(study, "with", other, "words", "fisher")
    assert found is not None
    assert (found.rule, found.plan_key) == ("fixed", other.key), "the name has gone to another plan since"
