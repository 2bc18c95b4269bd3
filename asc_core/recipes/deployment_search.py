"""Forecast what variants of a model would be, measure those that look best where they will run, and rank again.

What is measured is the model's graph in the chosen runtime: its answers, its time in turns with the original in the
same runtime, and the bytes of what was written. It is kept in the study, so that a search that was stopped goes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from asc_core import modeling
from asc_core.compress.calibrations import Calibrations
from asc_core.compress.vocabulary import Vocabulary
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate import PerExampleResult, estimate, known_layer_times, measure, measure_in_turns
from asc_core.evaluate.loss_prediction import MeasuredLoss, predict_loss
from asc_core.evaluate.speeds import Conditions, check_takes
from asc_core.export.formats import FORMATS
from asc_core.export.tokenizer_files import write_tokenizer
from asc_core.plan import CostModel, by_budget, smallest_share
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress
from asc_core.recipes.deployment import Figure, Limits, Option, Variant, ranked
from asc_core.recipes.int8 import int8_step
from asc_core.recipes.recipe import Recipe
from asc_core.recipes.stored import keep_evaluation
from asc_core.runtimes import RUNTIMES, Session, SessionReader, runtime_named, session
from asc_core.study import Study
from asc_core.tasks.base import Task
from asc_core.values import Estimate, Scores

KEEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
FIRST_CUT = 0.5  # measured first where no cut was yet: without one there is nothing to forecast from
TURNS = 15
_READ = ("model*", "pytorch_model*", "tokenizer.json")


def megabytes(folder: Path) -> float:
    """10^6 bytes of what a runtime reads: weights and graph, and the tokenizer's one file."""
    files = {file for name in _READ for file in folder.glob(name) if file.suffix != ".py"}
    return sum(file.stat().st_size for file in files) / 1e6


@dataclass
class Deployment:
    """One application, its limits, and where it will run.

    scores: what cuts go by; None = nothing is cut. repair: of cuts, None = none. runtime: a name of `RUNTIMES`.
    conditions: of the time. split: to measure on. Raises: UserError, Cancelled (in all methods).
    """

    encoder: Encoder
    task: Task
    study: Study
    limits: Limits
    scores: Scores | None = None
    repair: str | None = "sequential"
    runtime: str = "onnxruntime"
    conditions: Conditions = field(default_factory=Conditions)
    split: str = "validation"
    seed: int = 0
    progress: Progress | None = None
    calibrations: Calibrations = field(default_factory=Calibrations)

    def __post_init__(self) -> None:
        runtime_named(self.runtime)
        check_takes(self.encoder, self.conditions.tokens)

    @cached_property
    def cost_model(self) -> CostModel:
        counted, here = task_cost_model(self.encoder, self.task), self.conditions
        lengths = np.full(1, here.tokens)
        table = known_layer_times(self.encoder, lengths, here.batch_size, self.study, self.runtime, here.threads)
        return counted if table is None else counted.with_latency(table)

    @cached_property
    def keeps(self) -> tuple[float, ...]:
        if self.scores is None:
            return (1.0,)
        least = smallest_share(self.scores, self.cost_model)
        return tuple(keep for keep in KEEPS if keep >= least)

    @cached_property
    def variants(self) -> list[Variant]:
        return [Variant(*chosen) for chosen in product(self.keeps, (False, True), (False, True))]

    def recipe(self, variant: Variant) -> Recipe | None:
        """None of the original itself."""
        steps: tuple[Any, ...] = ()
        if variant.keep < 1:
            assert self.scores is not None
            steps = Recipe.repaired(self._plan(variant.keep), self.repair, seed=self.seed).steps
        if variant.vocabulary:
            steps = (*steps, Vocabulary())
        if variant.int8:
            steps = (*steps, int8_step(RUNTIMES[self.runtime].form or "compact", choose=True))
        return Recipe(steps, self.encoder.public_name, self.task.source) if steps else None

    def _plan(self, keep: float) -> Any:
        return self._plans.setdefault(keep, by_budget(self.scores, self.cost_model, keep))  # type: ignore[arg-type]

    @cached_property
    def _plans(self) -> dict[float, Any]:
        return {}

    @cached_property
    def original(self) -> PerExampleResult:
        return measure(self.encoder, self.task, self.split, progress=self.progress)

    # Measured

    def known(self, variant: Variant) -> dict[str, Any]:
        """What was measured of it: "mb" and "estimate" in this runtime, "ms" under these conditions; {} = nothing."""
        found: dict[str, Any] = {}
        for key, names in ((self._key(variant), {"mb", "estimate"}), (self._time_key(variant), {"ms"})):
            stored = self.study.get(key)
            if isinstance(stored, dict) and names <= set(stored):
                found |= stored
        return found

    def _key(self, variant: Variant) -> str:
        recipe = self.recipe(variant)
        made = "original" if recipe is None else recipe.key
        data = self.task.data(self.split)
        return f"deployment:{self.encoder.weights}:{made}:{self.task.name}:{self.split}:{data}:{self.runtime}"

    def _time_key(self, variant: Variant) -> str:
        return f"{self._key(variant)}:{self.conditions.key}"

    def measure(self, variant: Variant) -> None:
        """Made, written, answered and timed in the runtime, as far as that is not known, and kept in the study."""
        recipe, known = self.recipe(variant), self.known(variant)
        made = self.encoder
        if recipe is not None:
            made = recipe.apply(self.encoder, self.task, self.progress, calibrations=self.calibrations)
        loaded, mb = self._loaded(made)
        if "estimate" not in known:
            found = self._answers(loaded, made)
            self.study.set(self._key(variant), {"mb": mb, "estimate": found.to_json()})
            if recipe is not None and not variant.int8:  # of int8 the runtime's answers are its own
                self._keep_for_others(recipe, made, found)
        sessions = {"original": loaded if recipe is None else self._original_session, "variant": loaded}
        here = self.conditions
        lengths = np.full(here.batch_size, here.tokens)
        took = measure_in_turns(sessions, lengths, here.batch_size, TURNS, self.seed, self.progress)
        times = {name: [round(1e3 * s, 4) for s in (t.median, t.low, t.high)] for name, t in took.items()}
        self.study.set(self._time_key(variant), {"ms": times["variant"], "original_ms": times["original"]})

    def _answers(self, loaded: Session, made: Encoder) -> Estimate:
        reference = None if self.task.labelled else self.original
        reader = SessionReader(loaded, made)
        outcome = measure(reader, self.task, self.split, reference=reference, progress=self.progress)
        return estimate(outcome, self.task.metric, self.original)

    def _keep_for_others(self, recipe: Recipe, made: Encoder, found: Estimate) -> None:
        cost = made.cost(self.cost_model.lengths)
        keep_evaluation(self.study, self.encoder, recipe, self.task, self.split, found, cost)

    @cached_property
    def _original_session(self) -> Session:
        return session(self.encoder, self.runtime, self.conditions.threads)

    def _loaded(self, made: Encoder) -> tuple[Session, float]:
        """(the session, 10^6 bytes of weights and tokenizer as they lie in its folder)"""
        format = FORMATS[RUNTIMES[self.runtime].form or "compact"]
        refusal = format.refuses(made)
        if refusal is not None:
            raise UserError(refusal)
        packing = made.packing if made.packing in format.packings else "float32"
        with tempfile.TemporaryDirectory(prefix="asc-deploy-") as path:
            folder = Path(path)
            format.write(made, folder, modeling.PACKINGS[packing])
            write_tokenizer(made.tokenizer, folder, made.type_vocab_size > 1)
            mb = megabytes(folder)
            loaded = session(folder if RUNTIMES[self.runtime].form else made, self.runtime, self.conditions.threads)
        return loaded, round(mb, 3)

    # Forecast

    def options(self) -> list[Option]:
        """All variants, and what else the study holds of this application, best first by what is known now."""
        records = {variant: self.known(variant) for variant in self.variants}
        forecast = _Forecast(self, records)
        found = [self._option(variant, record, forecast) for variant, record in records.items()]
        keys = {option.recipe_key for option in found}
        return ranked([*found, *(one for one in self._others(forecast) if one.recipe_key not in keys)], self.limits)

    def _option(self, variant: Variant, known: dict[str, Any], forecast: _Forecast) -> Option:
        recipe = self.recipe(variant)
        mb = Figure(known["mb"]) if "mb" in known else forecast.mb(variant)
        ms = Figure(*known["ms"]) if "ms" in known else forecast.ms(variant)
        points = _points(Estimate.from_json(known["estimate"])) if "estimate" in known else forecast.points(variant)
        return Option(variant.title, mb, ms, points, variant, recipe.key if recipe is not None else "")

    def _others(self, forecast: _Forecast) -> Iterator[Option]:
        """Recipes that were measured in memory; their time and size are forecasts."""
        for row in self.study.evaluations():
            mine = (row["weights"], row["task"], row["split"]) == (self.encoder.weights, self.task.name, self.split)
            found, cost = row["estimate"], row["cost"] or {}
            if not mine or not found.complete or found.difference is None or not {"flops", "bytes"} <= set(cost):
                continue
            share = cost["flops"] / self.cost_model.dense.flops
            title = row["name"] or " + ".join(step["step"] for step in row["steps"] or []) or row["recipe_key"]
            mb = Figure(
                cost["bytes"] / 1e6 + forecast.tokenizer_mb, rests_on="its weights and the original's tokenizer"
            )
            yield Option(title, mb, forecast.of_share(share), _points(found), None, row["recipe_key"])

    def choosing(self, most: int = 3) -> Iterator[list[Option]]:
        """The ranking again after each measurement; ends once the first is measured, or after `most` of those that
        look best. What forecasts rest on comes before: the original, each step alone, and a cut where none was yet."""
        for needed in self._needed():
            if not {"estimate", "ms"} <= set(self.known(needed)):
                self.measure(needed)
                yield self.options()
        yield (options := self.options())
        for _ in range(most):
            first = next((o for o in options if o.variant is not None and not o.measured), None)
            best = options[0]
            if first is None or best.measured or (best.variant is None and first.excess(self.limits) > 0):
                return
            assert first.variant is not None
            self.measure(first.variant)
            yield (options := self.options())

    def _needed(self) -> list[Variant]:
        """What forecasts rest on: the original, each step alone, and a cut where none is known."""
        alone = [Variant(int8=True), Variant(vocabulary=True)]
        needed = [Variant(), *alone]
        cuts = [variant for variant in self.variants if variant.keep < 1 and not (variant.int8 or variant.vocabulary)]
        if cuts and not any(self._lost_in_memory(cut) or self.known(cut) for cut in cuts):
            needed.append(min(cuts, key=lambda cut: abs(cut.keep - FIRST_CUT)))
        return needed

    def _lost_in_memory(self, variant: Variant) -> Estimate | None:
        """Of a model without int8 the runtime's answers are those in memory, so that what the page measured counts."""
        recipe = self.recipe(variant)
        if recipe is None or variant.int8:
            return None
        found = self.study.evaluation(self.encoder.weights, recipe.key, self.task.name, self.split)
        return found if found is not None and found.complete and found.difference is not None else None


def _points(found: Estimate) -> Figure:
    low, high = found.difference_interval or (None, None)
    lost = -100 * (found.difference or 0.0)
    return Figure(lost, None if high is None else -100 * high, None if low is None else -100 * low)


class _Forecast:
    """From what was measured of a deployment to what was not."""

    def __init__(self, deployment: Deployment, records: dict[Variant, dict[str, Any]]):
        self.of, self.records = deployment, records
        dense = records.get(Variant(), {})
        self.dense_ms = dense["ms"][0] if "ms" in dense else float("nan")
        self.dense_mb = dense.get("mb", float("nan"))
        self.dense_bytes = deployment.cost_model.dense.bytes / 1e6
        self.tokenizer_mb = max(self.dense_mb - self.dense_bytes, 0.0) if "mb" in dense else 0.0
        self._curve = self._losses()

    def mb(self, variant: Variant) -> Figure:
        """The plan's own bytes; what the steps take off the original is taken off in the same share, or amount."""
        if self.dense_mb != self.dense_mb:
            return Figure(float("nan"), rests_on="nothing was measured yet")
        weights = self._plan_bytes(variant.keep)
        rests = ["counted weights"]
        saved = 0.0
        if variant.vocabulary:
            saved = self.dense_mb - self._alone("mb", Variant(vocabulary=True), self.dense_mb)
            rests.append("the rows that a shorter vocabulary takes off the original")
        found = weights + self.tokenizer_mb - saved
        if variant.int8:
            found *= self._alone("mb", Variant(int8=True), self.dense_mb) / self.dense_mb
            rests.append("int8 in the share that it takes off the original")
        return Figure(found, rests_on=", ".join(rests))

    def _plan_bytes(self, keep: float) -> float:
        if keep == 1:
            return self.dense_bytes
        return float(self.of.cost_model.cost(self.of._plan(keep)).bytes) / 1e6

    def ms(self, variant: Variant) -> Figure:
        if variant.keep == 1:
            cut = Figure(self.dense_ms, rests_on="the original's time")
        else:
            costs = self.of.cost_model
            if costs.latency is not None:
                share = costs.total(self.of._plan(variant.keep), "latency") / costs.dense_total("latency")
                cut = Figure(self.dense_ms * share, rests_on=f"measured layer times in {self.of.runtime}")
            else:
                cut = self.of_share(variant.keep)
        if not variant.int8:
            return cut
        share = self._alone("ms", Variant(int8=True), self.dense_ms) / self.dense_ms
        return Figure(cut.value * share, rests_on=f"{cut.rests_on}, int8 as on the original")

    def of_share(self, flops: float) -> Figure:
        """Between the cuts that were timed by their FLOPs; before any was, as if time fell with FLOPs."""
        timed = sorted(
            (v.keep, r["ms"][0]) for v, r in self.records.items() if "ms" in r and not (v.int8 or v.vocabulary)
        )
        if len(timed) < 2:
            return Figure(self.dense_ms * flops, rests_on="time taken to fall with FLOPs, which is too good")
        shares, times = zip(*timed, strict=True)
        rests = "between the cuts that were timed, by FLOPs"
        if flops < shares[0]:
            slope = (times[-1] - times[0]) / (shares[-1] - shares[0])
            return Figure(max(times[0] - slope * (shares[0] - flops), 0.0), rests_on=f"beyond {rests[8:]}")
        return Figure(float(np.interp(flops, shares, times)), rests_on=rests)

    def points(self, variant: Variant) -> Figure:
        known = self.of._lost_in_memory(variant)
        if known is not None:
            return _points(known)
        lost, rests = self._cut_points(variant.keep)
        for name, alone in (("int8", Variant(int8=True)), ("vocabulary", Variant(vocabulary=True))):
            if getattr(variant, name):
                record = self.records.get(alone, {})
                if "estimate" not in record:
                    lost = float("nan")
                else:
                    lost += _points(Estimate.from_json(record["estimate"])).value
                rests.append(f"{name} as on the original")
        return Figure(lost, rests_on="losses added: " + ", ".join(rests))

    def _cut_points(self, keep: float) -> tuple[float, list[str]]:
        if keep == 1:
            return 0.0, []
        if self._curve is None:
            return float("nan"), ["no cut was measured yet"]
        keeps, lost = self._curve
        if keep < keeps[0]:
            slope = (lost[0] - lost[-1]) / (keeps[-1] - keeps[0])
            return float(lost[0] + slope * (keeps[0] - keep)), ["a straight line beyond the smallest cut measured"]
        return float(np.interp(keep, keeps, lost)), ["between the cuts that were measured"]

    def _losses(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(shares, points lost), ascending from the smallest cut that was measured to 1."""
        found = []
        for variant in self.of.variants:
            if variant.keep == 1 or variant.int8 or variant.vocabulary:
                continue
            record = self.records.get(variant, {})
            measured = "estimate" in record
            known = Estimate.from_json(record["estimate"]) if measured else self.of._lost_in_memory(variant)
            one = MeasuredLoss.of(variant.keep, known) if known is not None else None
            if one is not None:
                found.append(one)
        if not found:
            return None
        grid = np.array(sorted({*(one.keep for one in found), 1.0}))
        curve = predict_loss(found, grid, -1.0)
        if curve is None:
            return None
        return grid, -100 * np.nan_to_num(curve.difference)

    def _alone(self, name: str, variant: Variant, otherwise: float) -> float:
        value = self.records.get(variant, {}).get(name)
        if value is None:
            return otherwise
        return float(value[0] if isinstance(value, Sequence) else value)
