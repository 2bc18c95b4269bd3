"""The bench on which cuts of one application are measured: against the original, on validation, kept in the study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asc_core.evaluate import Measured as Outcome
from asc_core.evaluate import estimate, measure, measure_latency, measuring
from asc_core.plan import Cost, CostModel
from asc_core.study import Study
from asc_core.values import Estimate, Plan
from dashboard.applications import Application
from dashboard.charts.frontier import Measured
from dashboard.jobs import Job
from dashboard.library import Library
from dashboard.verdict import Speed
from dashboard.work import weights_setting

SPLIT = "validation"
LATENCY_BATCH, LATENCY_TURNS = 32, 15


@dataclass(frozen=True)
class Bench:
    """Reads what is known in no time; what takes time is returned as work for a job."""

    library: Library
    study: Study
    application: Application
    cost_model: CostModel

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

    def key(self, plan: Plan) -> str:
        return f"{self.study.path.absolute()}|{self.application.name}|{plan.key}"

    def stored(self, plan: Plan) -> Estimate | None:
        return self.study.evaluation(self.weights, plan.key, self.application.name, self.split)

    def original(self) -> Estimate | None:
        return self.stored(self.whole)

    def all_measured(self) -> list[Measured]:
        """Every cut of this application's weights that was measured on this split, in this study by anyone."""
        found = []
        for row in self.study.evaluations():
            mine = (row["weights"], row["task"], row["split"]) == (self.weights, self.application.name, self.split)
            if mine and row["cost"] is not None and row["recipe_key"] != self.whole.key:
                kept = _kept(row["cost"], self.cost_model.dense)
                if kept is not None:
                    found.append(Measured(row["recipe_key"], row["name"] or "a cut", kept, row["estimate"]))
        return found

    def measure(self, plan: Plan, name: str) -> Callable[[Job], Estimate]:
        """Cut for real and evaluate; shows estimates as they tighten, and keeps each in the study."""

        def work(job: Job) -> Estimate:
            encoder, task = self.library.encoder(self.application), self.library.task(self.application)
            against = self._original_outcome(job)
            job.handle.step(0, against.total, "cutting")
            smaller = encoder.cut(plan)
            cost = costs_json(self.cost_model.cost(plan))
            found = None
            for outcome in measuring(
                smaller, task, self.split, reference=None if task.labelled else against, progress=job.handle
            ):
                found = estimate(outcome, task.metric, against)
                job.show(found)
                if outcome.complete:
                    self.study.save_evaluation(
                        encoder.weights,
                        plan.key,
                        task.name,
                        self.split,
                        found,
                        statistics=outcome.statistics,
                        numbers=outcome.numbers,
                        cost=cost,
                        plan=plan,
                        name=name,
                    )
            assert found is not None
            return found

        return work

    def _original_outcome(self, job: Job) -> Outcome:
        """Of the uncut model on each example: measured once, then kept in the study."""
        encoder, task = self.library.encoder(self.application), self.library.task(self.application)
        key = f"original|{encoder.weights}|{task.name}|{self.split}"

        def once() -> Outcome:
            kept = self.study.partial(key)
            if kept is not None:
                return Outcome.from_arrays(*kept)
            outcome = measure(encoder, task, self.split, progress=job.handle)
            self.study.save_partial(key, *outcome.to_arrays())
            self.study.save_evaluation(
                encoder.weights,
                self.whole.key,
                task.name,
                self.split,
                estimate(outcome, task.metric),
                statistics=outcome.statistics,
                numbers=outcome.numbers,
                cost=costs_json(self.cost_model.dense),
                plan=self.whole,
                name="original",
            )
            return outcome

        return self.library.kept(("original", str(self.study.path.absolute()), key), once)

    def speed(self, plan: Plan) -> Speed | None:
        stored = self.study.get(self._speed_setting(plan))
        return Speed(**stored) if stored is not None else None

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
            speed = Speed(found["cut"].median, found["original"].median, found["cut"].ratio, found["cut"].batch_size)
            self.study.set(self._speed_setting(plan), speed.__dict__)
            return speed

        return work

    def _speed_setting(self, plan: Plan) -> str:
        return f"latency:{self.weights}:{self.application.name}:{plan.key}"


def costs_json(cost: Cost) -> dict[str, Any]:
    return {"parameters": cost.parameters, "flops": cost.flops, "bytes": cost.bytes}


def shares(cost: Cost, dense: Cost) -> dict[str, float]:
    """What is kept of the original's cost, by budget."""
    return {name: getattr(cost, name) / getattr(dense, name) for name in ("flops", "parameters", "bytes")}


def _kept(cost: dict[str, Any], dense: Cost) -> dict[str, float] | None:
    try:
        return {name: float(cost[name]) / getattr(dense, name) for name in ("flops", "parameters", "bytes")}
    except (KeyError, TypeError, ValueError):
        return None  # another tool's row
