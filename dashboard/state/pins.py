"""Settings kept beside plans: a link to a plan, or its name, brings the controls back to where they were."""

from __future__ import annotations

from asc_core.study import Study
from asc_core.values import Plan
from dashboard.state import kept
from dashboard.state.cut_settings import CutSettings, recipe_of


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
    """A plan may be pinned under several names, each with a repair of its own."""
    study.save_recipe(recipe_of(plan, settings.repair, settings.transfer), name)
    keep_settings(study, plan, settings)
    kept.pin_settings(study, name).set(kept.PinnedSettings(plan.key, settings))


def settings_of_pin(study: Study, name: str, plan: Plan, application: str, method: str) -> CutSettings | None:
    """As `settings_of_plan`; None also where the study holds no such plan."""
    pinned = kept.pin_settings(study, name).get()
    if pinned is not None and pinned.plan == plan.key:
        return pinned.move
    return settings_of_plan(study, plan.key, application, method)
