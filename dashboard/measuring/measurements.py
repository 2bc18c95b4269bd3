"""What is measured of one application's cuts, repaired or not: against the original, on validation.

What is measured is a recipe and stored under its key, with the cost of the model that it made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from asc_core.compress.calibration import TOKENS
from asc_core.compress.calibrations import Asked, Calibrations
from asc_core.encoder import Encoder
from asc_core.evaluate import PerExampleResult, estimate, measuring, own_notes
from asc_core.evaluate.per_example import SECONDS_TO_FIRST
from asc_core.evaluate.prefix_cache import PrefixReuse
from asc_core.evaluate.seconds_ahead import SecondsAhead, pace_of, seconds_ahead
from asc_core.plan import Cost, CostModel
from asc_core.plan.encoder_cost import task_cost
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.recipe import Made
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.values import Estimate, Plan
from asc_core.vocabulary.dropped_pieces import notes_on_dropped
from dashboard.measuring.baseline import Baseline
from dashboard.measuring.build import build, cut_decides, quick_calibration, usual_calibration
from dashboard.measuring.measured_cut import MeasuredCut, costs_json, kept_of, way_of
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels, pace_key

SPLIT = "validation"
TRAINING = "training"  # in a study, what steps that train leave behind
QUICK_SECONDS_TO_FIRST = 0.1  # of an evaluation that only the first slice is looked at of
GROWTH = 4  # times the calibration tokens before a quick repair is made anew


@dataclass(frozen=True)
class Measurements:
    """Reads what is known in no time; what takes time is returned as work for a job."""

    models: LoadedModels
    study: Study
    application: Application
    cost_model: CostModel

    def __post_init__(self) -> None:
        _ = self.data_changed  # before anything that was measured is read

    @property
    def data_changed(self) -> bool:
        """Whether what was measured before came of other examples, of this split or of those that repairs are fitted
        to: it has been set aside then.

        A file may have been corrected under its old name.
        """
        key = ("own data", str(self.study.path.absolute()), self.application.task)
        return self.models.memo(key, self._set_aside)

    def _set_aside(self) -> bool:
        task = self.models.task(self.application)
        return self.study.set_aside_other_data(task.name, self.split, task.data(self.split))

    @property
    def weights(self) -> str:
        encoder = self.models.cached_encoder(self.application)
        return encoder.weights if encoder is not None else kept.weights(self.study, self.application).get() or ""

    @property
    def split(self) -> str:
        """Sliders use validation; a task that has none is cut by its first split, and every number says so."""
        splits = self.models.task(self.application).splits
        return SPLIT if SPLIT in splits else splits[0]

    @property
    def remark(self) -> str:
        """What is to be said of every number here: that its texts are those that the cut is chosen by; else ""."""
        splits = self.models.task(self.application).splits
        if "train" in splits or self.split != splits[0]:
            return ""
        return (
            f"The same texts (the {self.split} split) choose what is cut and measure it: there is no train split. On "
            "new texts expect less."
        )

    @property
    def full_plan(self) -> Plan:
        return Plan.full(self.cost_model.shape)

    @property
    def repairable(self) -> bool:
        """Whether there are texts to repair on."""
        return "train" in self.models.task(self.application).splits

    def key(self, recipe: Recipe) -> str:
        return f"{self.study.path.absolute()}|{self.application.name}|{recipe.key}"

    def stored(self, recipe: Recipe) -> Estimate | None:
        """Also one that was not measured to the end."""
        return self.study.evaluation(self.weights, recipe.key, self.application.task_name, self.split)

    def original(self) -> Estimate | None:
        return self.stored(Recipe.of(self.full_plan))

    def all_measured(self) -> list[MeasuredCut]:
        """Every cut of this application's weights that was measured on this split, in this study by anyone."""
        found = []
        for row in self._rows():
            if row["recipe_key"] != self.full_plan.key:
                share = kept_of(row["cost"], self.cost_model.dense)
                if share is not None:
                    way = way_of(row["steps"])
                    name, series = row["name"] or "a cut", self._series(row["recipe_key"])
                    found.append(MeasuredCut(row["recipe_key"], name, share, row["estimate"], way, series))
        return found

    def _series(self, recipe_key: str) -> str | None:
        """The curve that a stored measurement is a point of; None where that is not known. It never changes."""
        key = ("series", str(self.study.path.absolute()), self.application.name, recipe_key)
        return self.models.memo(key, lambda: kept.series(self.study, self.application, recipe_key).get())

    def begin(self, progress: Progress) -> None:
        """What the first number of a first cut needs of the original. Raises: UserError, Cancelled."""
        encoder, task = self.models.encoder(self.application), self.models.task(self.application)
        self._original().begun(progress)
        self.models.memo(pace_key(self.application), lambda: pace_of(encoder))
        if self.repairable:
            self._recall_needed()
            self.models.calibrations.first(encoder, task, progress, **usual_calibration(encoder))

    def prepare(self, progress: Progress) -> None:
        """Whatever the estimates and repairs of all cuts need of the original; what is needed first comes first.

        Raises: UserError, Cancelled; what was done stays.
        """
        self.begin(progress)
        if self.repairable:
            encoder, task = self.models.encoder(self.application), self.models.task(self.application)
            self.models.calibrations.get(encoder, task, progress, **usual_calibration(encoder))
            self._keep_needed()
        self._original().whole(progress)

    def seconds_ahead(self, recipe: Recipe) -> SecondsAhead | None:
        """What a repaired cut that was never measured will take; None where nothing tells, or other steps decide."""
        encoder, pace = self.models.cached_encoder(self.application), self.models.cached_pace(self.application)
        forecast, tokens = self.forecast(recipe), self._original().tokens if encoder is not None else None
        if encoder is None or pace is None or forecast is None or tokens is None or not recipe.has_quick_form:
            return None
        task, asked = self.models.task(self.application), usual_calibration(encoder)
        known = self.models.calibrations.known(encoder, task, **asked)
        fitted_to = self.models.calibrations.needed(encoder, task, **asked) or TOKENS
        kept_share = forecast.flops / self.cost_model.dense.flops
        return seconds_ahead(encoder, kept_share, fitted_to, tokens, pace, known is not None)

    def _recall_needed(self) -> None:
        """How many tokens a repair needs is measured once for an application."""
        if not self.repairable:
            return
        encoder, task = self.models.encoder(self.application), self.models.task(self.application)
        tokens = kept.needed_tokens(self.study, encoder, task).get()
        if tokens is not None:
            self.models.calibrations.remember_needed(encoder, task, tokens, **usual_calibration(encoder))

    def _keep_needed(self) -> None:
        if not self.repairable:
            return
        encoder, task = self.models.encoder(self.application), self.models.task(self.application)
        tokens = self.models.calibrations.needed(encoder, task, **usual_calibration(encoder))
        setting = kept.needed_tokens(self.study, encoder, task)
        if tokens is not None and setting.get() is None:
            setting.set(tokens)

    def measured(
        self,
        recipe: Recipe,
        name: str,
        progress: Progress,
        show: Callable[[Estimate], None] = lambda _: None,
        enough: Callable[[Estimate], bool] = lambda _: False,
        quickly: bool = False,
    ) -> Estimate:
        """name: what it is called in the study. enough: asked after each slice; where it is true the rest is left out.
        quickly: whether somebody waits, who is shown estimates of a quicker repair while the right one is computed.

        What was measured before is not measured again, be it a beginning; nor are hidden states computed that another
        cut has in common with this one.

        Raises: UserError, Cancelled.
        """
        self._recall_needed()
        with ExitStack() as used:
            if quickly and recipe.has_quick_form:
                used.enter_context(self._holding(recipe))
                self._refined(recipe, name, progress, show)
            made = build(self.models, self.application, recipe, progress, self.study.path / TRAINING)
        self._keep_needed()
        found = None
        for found in self.estimates(made, recipe, name, progress, show):
            if enough(found):
                break
        assert found is not None
        return found

    def _holding(self, recipe: Recipe) -> AbstractContextManager[None]:
        """What a quick repair and the right one are both fitted to."""
        encoder, task = self.models.encoder(self.application), self.models.task(self.application)
        asked = quick_calibration(recipe, encoder)
        return nullcontext() if asked is None else self.models.calibrations.held(encoder, task, **asked)

    def _refined(self, recipe: Recipe, name: str, progress: Progress, show: Callable[[Estimate], None]) -> None:
        """First estimates of something like a recipe's model, while what the model needs is still being computed."""
        encoder, task = self.models.encoder(self.application), self.models.task(self.application)
        asked, calibrations = quick_calibration(recipe, encoder), self.models.calibrations
        stored = self.stored(recipe)
        if stored is not None and (not stored.provisional or _whole(calibrations, encoder, task, asked)):
            return
        while True:
            made = build(self.models, self.application, recipe, progress, provisional=True)
            if made.provisional:
                next(self.estimates(made, recipe, name, progress, show))
            if _whole(calibrations, encoder, task, asked):
                return
            assert asked is not None
            used = calibrations.first(encoder, task, progress, **asked).tokens
            calibrations.more(encoder, task, GROWTH * used - 1, progress, **asked)

    def estimates(
        self,
        made: Made,
        recipe: Recipe,
        name: str,
        progress: Progress,
        show: Callable[[Estimate], None] = lambda _: None,
    ) -> Iterator[Estimate]:
        """Of the model that was made, as they tighten; shown, and kept in the study."""
        encoder, task = self.models.encoder(self.application), self.models.task(self.application)
        original = self._original()
        # Without labels the metric is agreement with the original, example by example, so all of it comes first.
        reference = None if task.labelled else original.whole(progress)
        aside = Progress(cancel=progress.cancel)
        cost = self.forecast(recipe) or task_cost(made.encoder, task)
        known = None if made.provisional else self._known(recipe)
        for outcome in measuring(
            made.encoder,
            task,
            self.split,
            reference=reference,
            progress=progress,
            reuse=self._reuse(made),
            known=known,
            seconds_to_first=QUICK_SECONDS_TO_FIRST if made.provisional else SECONDS_TO_FIRST,
        ):
            against = original.on(outcome.numbers, aside)
            found = replace(estimate(outcome, task.metric, against), provisional=made.provisional)
            said = [*found.notes, *done_in(made, recipe)]
            if outcome.complete:
                said += notes_on_dropped(encoder, made.encoder, task, against, outcome)
            found = replace(found, notes=tuple(dict.fromkeys(said)))
            try:
                show(found)  # before it is written to disk: someone is waiting
            finally:
                final = not made.provisional
                self.study.save_evaluation(
                    encoder.weights,
                    recipe.key,
                    task.name,
                    self.split,
                    found,
                    statistics=outcome.statistics if final else None,
                    numbers=outcome.numbers if final else None,
                    cost=costs_json(cost),
                    recipe=recipe,
                    name=name,
                    data=task.data(self.split),
                )
            yield found

    def forecast(self, recipe: Recipe) -> Cost | None:
        """What a recipe's model costs, latency too, before it is made; None where another step than its cut decides."""
        return self.cost_model.cost(recipe.cut) if recipe.cut is not None and cut_decides(recipe.steps) else None

    def cost(self, recipe: Recipe) -> dict[str, Any] | None:
        """Of a recipe's model, by budget; None where it can only be counted and has not been made."""
        forecast = self.forecast(recipe)
        if forecast is not None:
            return costs_json(forecast)
        stored = next((row["cost"] for row in self._rows() if row["recipe_key"] == recipe.key), None)
        return None if stored is None or kept_of(stored, self.cost_model.dense) is None else stored

    def _rows(self) -> Iterator[dict[str, Any]]:
        """What the study holds of this application's weights and split, if it says what the model costs."""
        for row in self.study.evaluations():
            of = (row["weights"], row["task"], row["split"])
            mine = of == (self.weights, self.application.task_name, self.split)
            if mine and row["cost"] is not None:
                yield row

    def _reuse(self, made: Made) -> PrefixReuse | None:
        keys = made.prefix_keys(self.models.task(self.application))
        return None if keys is None else PrefixReuse(self.models.states, keys)

    def _known(self, recipe: Recipe) -> PerExampleResult | None:
        """What an evaluation that was stopped has measured."""
        measured = self.study.statistics(self.weights, recipe.key, self.application.task_name, self.split)
        stored = self.stored(recipe)
        if measured is None or stored is None or stored.provisional:
            return None
        numbers, statistics = measured
        return PerExampleResult(stored.metric, self.split, numbers, statistics, stored.total, notes=own_notes(stored))

    def original_outcome(self, progress: Progress) -> PerExampleResult:
        """Of the uncut model on all examples. Raises: UserError, Cancelled."""
        return self._original().whole(progress)

    def _original(self) -> Baseline:
        encoder, task = self.models.encoder(self.application), self.models.task(self.application)

        def keep(outcome: PerExampleResult) -> None:
            self.study.save_evaluation(
                encoder.weights,
                self.full_plan.key,
                task.name,
                self.split,
                estimate(outcome, task.metric),
                statistics=outcome.statistics,
                numbers=outcome.numbers,
                cost=costs_json(self.cost_model.dense),
                recipe=Recipe.of(self.full_plan),
                name="original",
                data=task.data(self.split),
            )

        key = ("original", str(self.study.path.absolute()), encoder.weights, self.application.task, self.split)
        return self.models.memo(key, lambda: Baseline(encoder, task, self.split, self.study, keep))


def _whole(calibrations: Calibrations, encoder: Encoder, task: Task, asked: Asked | None) -> bool:
    """Whether a quick repair will not become better, since there are no more texts to come."""
    return asked is None or calibrations.known(encoder, task, **asked) is not None


def done_in(made: Made, recipe: Recipe) -> tuple[str, ...]:
    """What was done where the recipe does not say all of it, such as how many tokens a repair was fitted to."""
    if made.provisional:
        return ()
    said = [done for done, step in zip(made.done, recipe.steps, strict=True) if done != step.describe()]
    return tuple(f"Done: {done}." for done in said)
