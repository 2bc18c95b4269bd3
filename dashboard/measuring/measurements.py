"""The bench on which cuts of one application are measured, repaired or not: against the original, on validation.

What is measured is a recipe and stored under its key; the latency is the plan's, since a repair changes no shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from asc_core.evaluate import PerExampleResult, estimate, layer_times, measure_latency, measuring
from asc_core.evaluate.layer_times import known_layer_times
from asc_core.evaluate.prefix_cache import PrefixReuse
from asc_core.plan import BUDGETS, COUNTED, Cost, CostModel, LatencyTable
from asc_core.plan.encoder_cost import task_cost
from asc_core.progress import Progress
from asc_core.recipes import STEPS, Recipe
from asc_core.recipes.recipe import Made
from asc_core.study import Study
from asc_core.values import Estimate, Plan
from dashboard.background.jobs import Job
from dashboard.background.scoring_jobs import kept_settings, weights_setting
from dashboard.charts.frontier import Measured
from dashboard.measuring import predicted_loss
from dashboard.measuring.baseline import Original
from dashboard.measuring.build import made
from dashboard.state.applications import Application
from dashboard.state.cut_settings import Move
from dashboard.state.loaded import Library
from dashboard.widgets.result_card import Speed

SPLIT = "validation"
TRAINING = "training"  # in a study, what steps that train leave behind
LATENCY_BATCH, LATENCY_TURNS = 32, 15


@dataclass(frozen=True)
class Bench:
    """Reads what is known in no time; what takes time is returned as work for a job."""

    library: Library
    study: Study
    application: Application
    cost_model: CostModel

    def __post_init__(self) -> None:
        _ = self.other_data  # before anything that was measured is read

    @property
    def other_data(self) -> bool:
        """Whether what was measured before came of other examples, of this split or of those that repairs are fitted
        to: it has been set aside then.

        A file may have been corrected under its old name.
        """
        key = ("own data", str(self.study.path.absolute()), self.application.task)
        return self.library.kept(key, self._set_aside)

    def _set_aside(self) -> bool:
        task = self.library.task(self.application)
        return self.study.set_aside_other_data(task.name, self.split, task.data(self.split))

    @property
    def weights(self) -> str:
        encoder = self.library.known_encoder(self.application)
        return encoder.weights if encoder is not None else str(self.study.get(weights_setting(self.application)))

    @property
    def split(self) -> str:
        """Sliders use validation; a task that has none is cut by its first split, and every number says so."""
        splits = self.library.task(self.application).splits
        return SPLIT if SPLIT in splits else splits[0]

    @property
    def whole(self) -> Plan:
        return Plan.full(self.cost_model.shape)

    @property
    def repairable(self) -> bool:
        """Whether there are weights of their own to refit and texts to do it on."""
        return not self.cost_model.shape.shares_weights and "train" in self.library.task(self.application).splits

    def key(self, recipe: Recipe) -> str:
        return f"{self.study.path.absolute()}|{self.application.name}|{recipe.key}"

    def speed_key(self, plan: Plan) -> str:
        return f"{self.study.path.absolute()}|{self.application.name}|speed|{plan.key}"

    def stored(self, recipe: Recipe) -> Estimate | None:
        """Also one that was not measured to the end."""
        return self.study.evaluation(self.weights, recipe.key, self.application.name, self.split)

    def original(self) -> Estimate | None:
        return self.stored(Recipe.of(self.whole))

    def all_measured(self) -> list[Measured]:
        """Every cut of this application's weights that was measured on this split, in this study by anyone."""
        found = []
        for row in self.study.evaluations():
            mine = (row["weights"], row["task"], row["split"]) == (self.weights, self.application.name, self.split)
            if mine and row["cost"] is not None and row["recipe_key"] != self.whole.key:
                kept = _kept(row["cost"], self.cost_model.dense)
                if kept is not None:
                    repaired = _changed(row["steps"] or [])
                    name, series = row["name"] or "a cut", predicted_loss.series_of_recipe(self, row["recipe_key"])
                    found.append(Measured(row["recipe_key"], name, kept, row["estimate"], repaired, series))
        return found

    def measure(self, recipe: Recipe, move: Move, reach: float | None = None) -> Callable[[Job], Estimate]:
        """Cut and repair for real and evaluate; shows estimates as they tighten, and keeps each in the study.

        reach: end as soon as the interval goes no further than this to either side; None = after all examples.
        """
        return lambda job: self.measured(recipe, move, job.handle, job.show, partial(tight_enough, reach=reach))

    def measured(
        self,
        recipe: Recipe,
        move: Move,
        progress: Progress,
        show: Callable[[Estimate], None] = lambda _: None,
        enough: Callable[[Estimate], bool] = lambda _: False,
    ) -> Estimate:
        """move: what the recipe came of. enough: asked after each slice; where it is true the rest is not measured.

        What was measured before is not measured again, be it a beginning; nor are hidden states computed that another
        cut has in common with this one.

        Raises: UserError, Cancelled.
        """
        encoder, task = self.library.encoder(self.application), self.library.task(self.application)
        original = self._original()
        # Without labels the metric is agreement with the original, example by example, so all of it comes first.
        reference = None if task.labelled else original.whole(progress)
        aside = Progress(cancel=progress.cancel)
        whole = made(self.library, self.application, recipe, progress, self.study.path / TRAINING)
        cost = self.cost(recipe, whole)
        found = None
        for outcome in measuring(
            whole.encoder,
            task,
            self.split,
            reference=reference,
            progress=progress,
            reuse=self._reuse(whole),
            known=self._known(recipe),
        ):
            against = original.on(outcome.numbers, aside)
            found = estimate(outcome, task.metric, against)
            try:
                show(found)  # before it is written to disk: someone is waiting
            finally:
                predicted_loss.remember(self, recipe, move, found)
                self.study.save_evaluation(
                    encoder.weights,
                    recipe.key,
                    task.name,
                    self.split,
                    found,
                    statistics=outcome.statistics,
                    numbers=outcome.numbers,
                    cost=costs_json(cost),
                    recipe=recipe,
                    name=move.name,
                )
            if enough(found):
                break
        assert found is not None
        return found

    def cost(self, recipe: Recipe, made: Made) -> Cost:
        """By the cost model where the recipe is one cut, so that its latency is forecast too; else of what was made."""
        if recipe.cut is not None and len(recipe.steps) == 1:
            return self.cost_model.cost(recipe.cut)
        return task_cost(made.encoder, self.library.task(self.application))

    def _reuse(self, made: Made) -> PrefixReuse | None:
        keys = made.prefix_keys(self.library.task(self.application))
        return None if keys is None else PrefixReuse(self.library.states, keys)

    def _known(self, recipe: Recipe) -> PerExampleResult | None:
        """What an evaluation that was stopped has measured."""
        kept = self.study.statistics(self.weights, recipe.key, self.application.name, self.split)
        stored = self.stored(recipe)
        if kept is None or stored is None:
            return None
        numbers, statistics = kept
        return PerExampleResult(stored.metric, self.split, numbers, statistics, stored.total)

    def original_outcome(self, progress: Progress) -> PerExampleResult:
        """Of the uncut model on all examples. Raises: UserError, Cancelled."""
        return self._original().whole(progress)

    def _original(self) -> Original:
        encoder, task = self.library.encoder(self.application), self.library.task(self.application)

        def keep(outcome: PerExampleResult) -> None:
            self.study.save_evaluation(
                encoder.weights,
                self.whole.key,
                task.name,
                self.split,
                estimate(outcome, task.metric),
                statistics=outcome.statistics,
                numbers=outcome.numbers,
                cost=costs_json(self.cost_model.dense),
                recipe=Recipe.of(self.whole),
                name="original",
            )

        key = ("original", str(self.study.path.absolute()), encoder.weights, self.application.task, self.split)
        return self.library.kept(key, lambda: Original(encoder, task, self.split, self.study, keep))

    def speed(self, plan: Plan) -> Speed | None:
        """None where it was not measured, and of the original itself."""
        stored = kept_settings(self.study, self._speed_setting(plan))
        wanted = {name: stored.get(name) for name in ("original", "ratio", "batch")}
        return Speed(**wanted) if all(isinstance(value, int | float) for value in wanted.values()) else None  # type: ignore[arg-type]

    def measure_speed(self, plan: Plan) -> Callable[[Job], Speed]:
        """The cut and the original in turns, so that whatever slows the machine slows both."""

        def work(job: Job) -> Speed:
            encoder = self.library.encoder(self.application)
            found = measure_latency(
                {"original": encoder, "cut": encoder.cut(plan)},
                self.cost_model.lengths,
                batch_size=LATENCY_BATCH,
                repeats=LATENCY_TURNS,
                progress=job.handle,
            )
            speed = Speed(found["original"].median, found["cut"].ratio, found["cut"].batch_size)
            self.study.set(self._speed_setting(plan), speed.__dict__)
            return speed

        return work

    def _speed_setting(self, plan: Plan) -> str:
        return f"latency:{self.weights}:{self.application.name}:{plan.key}"


def tight_enough(estimate: Estimate, reach: float | None) -> bool:
    """Whether nothing more is to be measured."""
    return estimate.complete or (reach is not None and estimate.half_width <= reach)


def costs_json(cost: Cost) -> dict[str, Any]:
    return {name: value for name in BUDGETS if (value := getattr(cost, name)) is not None}


def shares(cost: Cost, dense: Cost) -> dict[str, float]:
    """What is kept of the original's cost, by budget; of latency where layer times are known."""
    whole = costs_json(dense)
    return {name: value / whole[name] for name, value in costs_json(cost).items() if name in whole}


def _changed(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a recipe did more than cut: its model is not what a cut alone leaves."""
    cutting = {kind for kind, step in STEPS.items() if step.structure == "cut"}
    return any(step.get("repair") is not None or step["step"] not in cutting for step in steps)


def _kept(cost: dict[str, Any], dense: Cost) -> dict[str, float] | None:
    """None where it is another tool's row."""
    try:
        kept = {name: float(cost[name]) / whole for name, whole in costs_json(dense).items() if name in cost}
    except (TypeError, ValueError):
        return None
    return kept if set(COUNTED) <= set(kept) else None


def timing(library: Library, study: Study, application: Application) -> Callable[[Job], LatencyTable]:
    """How long layers take on this machine, by their widths; kept in the study."""

    def work(job: Job) -> LatencyTable:
        lengths = library.cost_model(application).lengths
        return layer_times(library.encoder(application), lengths, LATENCY_BATCH, study=study, progress=job.handle)

    return work


def with_known_times(library: Library, study: Study, application: Application, costs: CostModel) -> CostModel | None:
    """The cost model with this machine's layer times, None where they have not been measured yet."""
    encoder = library.known_encoder(application)
    if encoder is None:
        return None
    table = known_layer_times(costs.shape, costs.lengths, LATENCY_BATCH, encoder.device, study)
    return costs.with_latency(table) if table is not None else None
