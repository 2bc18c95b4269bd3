"""What to deploy: ranked by what the study knows, and by what a job measures of the best. Functions of a `Job`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from asc_core.compress.repairs import default_repair
from asc_core.evaluate.speeds import Conditions
from asc_core.recipes import Recipe
from asc_core.recipes.deployment import Limits, Option
from asc_core.recipes.deployment_search import Deployment
from asc_core.recipes.stored import stored_recipe
from asc_core.study import Study
from dashboard.background import application_jobs
from dashboard.background.jobs import Job
from dashboard.measuring.measurements import Measurements
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

LANE = "explore"


@dataclass(frozen=True)
class Asked:
    """limits; where and on what it will run. method: which scores cuts go by, "" = none. measure: how many at most."""

    limits: Limits
    runtime: str
    conditions: Conditions = field(default_factory=Conditions)
    method: str = ""
    measure: int = 3


@dataclass(frozen=True)
class Ranking:
    """options: best first. asked: what they are ranked by. recipes: by their keys, of the options within the limits
    that are more than the original."""

    options: list[Option]
    asked: Asked
    recipes: Mapping[str, Recipe] = field(default_factory=dict)


def choosing_job(
    models: LoadedModels, study: Study, application: Application, asked: Asked
) -> Callable[[Job], Ranking]:
    """Shows a ranking that gets surer. What is measured is in the study, so a cancelled one goes on."""

    def work(job: Job) -> Ranking:
        opened = application_jobs.opened(models, study, application, job)
        measurements = Measurements(models, study, application, opened.cost_model)
        scored = stored_scores.of_application(models, study, application)
        deployment = Deployment(
            opened.encoder,
            opened.task,
            study,
            asked.limits,
            scored.get(asked.method),
            default_repair(opened.encoder.shape) if measurements.repairable else None,
            runtime=asked.runtime,
            conditions=asked.conditions,
            split=measurements.split,
            progress=job.progress,
        )

        def shown(options: list[Option]) -> Ranking:
            recipes = recipes_within(options, deployment, study, application)
            ranking = Ranking(options, asked, recipes)
            job.show(ranking)
            return ranking

        ranking = shown(deployment.options())
        if asked.measure:
            for options in deployment.choosing(asked.measure):
                ranking = shown(options)
        return ranking

    return work


def recipes_within(
    options: Sequence[Option], deployment: Deployment, study: Study, application: Application
) -> dict[str, Recipe]:
    """Of what is within the limits, so that it can be pinned: named as the page names the application."""
    found: dict[str, Recipe] = {}
    for option in options:
        if option.excess(deployment.limits) > 0:
            continue
        made = deployment.recipe(option.variant) if option.variant else stored_recipe(study, option.recipe_key)
        if made is not None:
            found[option.recipe_key] = replace(made, original=application.encoder, task=application.name)
    return found
