"""Settings kept beside plans and names: a link or a pinned recipe brings the controls back to where they were."""

from __future__ import annotations

from dataclasses import replace

from asc_core.compress.cut import Cut
from asc_core.recipes import Recipe
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.state import kept
from dashboard.state.cut_settings import CutSettings
from dashboard.state.further_steps import kinds, offered


def keep_settings(study: Study, plan: Plan, settings: CutSettings) -> None:
    study.save_plan(plan)
    for application in (None, settings.application):
        kept.plan_settings(study, plan.key, application).set(settings)


def settings_of_plan(study: Study, plan_key: str, application: str, method: str) -> CutSettings | None:
    """Those that made a plan, fixed ones where it comes from elsewhere; None where the study does not hold the plan."""
    plan = study.plan(plan_key)
    if plan is None:
        return None
    for of in (application, None):
        settings = kept.plan_settings(study, plan_key, of).get()
        if settings is not None and application in ("", settings.application):
            return settings
    return CutSettings(
        application=application or plan.provenance.task or "",
        method=method or plan.provenance.method or "",
        rule="fixed",
        plan_key=plan_key,
        repair="none",
    )


def pin(study: Study, name: str, plan: Plan, settings: CutSettings) -> None:
    """A plan may be pinned under several names, each with a repair and further steps of its own."""
    study.save_recipe(settings.recipe(plan), name)
    keep_settings(study, plan, settings)
    kept.pin_settings(study, name).set(kept.PinnedSettings(plan.key, settings))


def settings_of_pin(study: Study, name: str, recipe: Recipe, application: str, method: str) -> CutSettings | None:
    """Those that show the pinned recipe; None where no position of the controls does."""
    pinned = kept.pin_settings(study, name).get()
    if pinned is not None and recipe.cut is not None and pinned.plan == recipe.cut.key:
        settings: CutSettings | None = pinned.move
        if settings is not None and settings.recipe(recipe.cut).key == recipe.key:
            return settings
    return settings_of_recipe(study, recipe, application, method)


def settings_of_recipe(study: Study, recipe: Recipe, application: str, method: str) -> CutSettings | None:
    """None where no position of the controls gives it: it does not begin with a cut, or its steps are not offered."""
    plan = recipe.cut
    cutting, then = recipe.steps[:1], recipe.steps[1:]
    if plan is None or not all(isinstance(step, Cut) for step in cutting) or not offered().keys() >= kinds(then):
        return None
    settings = settings_of_plan(study, plan.key, application, method)
    repairs = [step.repair or "none" for step in cutting if isinstance(step, Cut)]
    if settings is None or not repairs:
        return None
    found = replace(settings, repair=repairs[0], then=then)
    return found if found.recipe(plan).key == recipe.key else None
