"""Compression without training against published methods, at equal FLOPs.

    python -m benchmarks.quality                      one calibration seed, a named subset (under 30 minutes)
    python -m benchmarks.quality --full               every checkpoint, budget and method, 3 seeds; goes on after a kill
    python -m benchmarks.quality minilm-sick --kept 0.5 --seeds 3 --method kprune
    python -m benchmarks.quality --collect            the report of all that was measured so far
    python -m benchmarks.quality --time               the times alone, with nothing beside it (2 minutes)

On the checkpoints in ../shared/models: 1,024 calibration examples of the training split (repairs, published ones too,
see as many of them as make `calibration.TOKENS`, on SQuAD about 380), encoder FLOPs at the task's mean unpadded length,
no training; nothing was chosen on these test splits. Ours is `obs` with the sequential refit; beside it its parts
alone, and as baselines the published methods with their own searches and repairs (`compress.published`), each published
score alone within the same budget, layers by similarity, and layers dropped by position or by greedy search, at the
largest size within the budget. `random` is the mean of 5 draws. The seed draws the calibration examples. Differences
are paired by test example; where there are several seeds, examples' outcomes are means over them, and `seeds` says of
how many. The last line is one JSON object. All commands but the third keep it in benchmarks/results/quality.json; what
they measure on test splits is kept in build/quality.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import asc_core
from asc_core.compress import PUBLISHED, Calibrations, Cut, StepContext, calibrate, refit
from asc_core.compress.calibration import TOKENS
from asc_core.compress.published import MethodInputs
from asc_core.encoder import Encoder
from asc_core.evaluate import PerExampleResult, measure_latency
from asc_core.plan import STRATEGIES, by_budget, by_layer_drop
from asc_core.tasks import Task
from asc_core.values import Plan, Scores
from benchmarks.machine import RESULTS, committed, keep, machine
from benchmarks.outcomes import difference_interval, outcomes, pack, statistics, unpack
from benchmarks.trust import CHECKPOINTS, sources

KEPT = (0.8, 0.6, 0.5, 0.4, 0.3, 0.2)
SUBSET = ("minilm-sick", "minilm-clinc150", "minilm-mrpc")
SUBSET_KEPT = (0.5, 0.3, 0.2)
SAMPLES = 1024
FULL_SEEDS = 3
ROUND = 32  # FFN widths that the hardware likes: timed beside those that the table is about
TURNS = 60
OURS = "obs, sequential refit"
SCORED = ("fisher", "michel", "kprune-predictive", "kprune-representational", "textpruner", "flap", "magnitude")
LAYERS = ("update", "asc-b")
WHOLE = ("kwon", "kprune", "michel-iterative", "textpruner-iterative", "flap-adaptive", "greedy-layers")
STRONGEST = ("kwon", "kprune")  # the published ones that repair what stays
ON_ONE_WAY = ("michel-iterative", "textpruner-iterative", "greedy-layers")
DROPPED = {f"{strategy} layers": strategy for strategy in STRATEGIES}
WITHOUT_CALIBRATION = ("magnitude", "random", *DROPPED)  # the same for every seed
RANDOM_DRAWS = 5
WORK = Path("build/quality")
OUTCOMES = RESULTS / "quality-outcomes.npz"


@cache
def _encoder(name: str) -> Encoder:
    return asc_core.load_encoder(sources(name, WORK)[0])


@cache
def _task(name: str) -> Task:
    return asc_core.load_task(sources(name, WORK)[1])


@dataclass
class Checkpoint:
    """name: a folder of ../shared/models. seed: draws the calibration examples.

    samples: how many of them. tokens: of the texts that repairs, published ones too, see at most.
    """

    name: str
    seed: int
    samples: int = SAMPLES
    tokens: int = TOKENS

    @property
    def encoder(self) -> Encoder:
        return _encoder(self.name)

    @property
    def task(self) -> Task:
        return _task(self.name)

    @cached_property
    def cost_model(self) -> Any:
        return asc_core.task_cost_model(self.encoder, self.task)

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Of every method but ours, from one sweep."""
        return asc_core.score(self.encoder, self.task, [*SCORED, *LAYERS], samples=self.samples, seed=self.seed)

    @cached_property
    def obs(self) -> Scores:
        return asc_core.score(self.encoder, self.task, ["obs"], samples=self.samples, seed=self.seed)["obs"]

    @cached_property
    def calibrations(self) -> Calibrations:
        return Calibrations()

    @cached_property
    def calibration(self) -> Any:
        return self.calibrations.get(
            self.encoder, self.task, samples=self.samples, tokens=self.tokens, seed=self.seed, moments=True
        )

    @cached_property
    def given(self) -> MethodInputs:
        return MethodInputs(
            self.encoder,
            self.task,
            samples=self.samples,
            tokens=self.tokens,
            seed=self.seed,
            calibrations=self.calibrations,
        )

    @cached_property
    def on_the_way(self) -> dict[str, Iterator[Plan]]:
        return {method: PUBLISHED[method].plans(self.given, KEPT) for method in ON_ONE_WAY}

    @cached_property
    def found(self) -> dict[str, list[Plan]]:
        return {method: [] for method in ON_ONE_WAY}

    def as_published(self, method: str, kept: float) -> Encoder:
        """A method's own plan and repair; `ON_ONE_WAY`, plans for larger budgets are stations of one way through all.

        Whatever budgets were asked for: a way that ends earlier would be another one.
        """
        if method in ON_ONE_WAY:
            found = self.found[method]
            while len(found) <= KEPT.index(kept):
                station = next(self.on_the_way[method], None)
                if station is None:
                    raise asc_core.UserError(f"{method} ended before {kept:g}")
                found.append(station)
            plan = found[KEPT.index(kept)]
        else:
            plan = next(PUBLISHED[method].plans(self.given, [kept]))
        step = Cut(plan=plan, repair=PUBLISHED[method].repair, samples=self.samples, tokens=self.tokens, seed=self.seed)
        return step.apply(self.encoder, StepContext(self.task, calibrations=self.calibrations))

    def plan(self, method: str, kept: float) -> Plan:
        scores = self.obs if method == "obs" else self.scores[method]
        return by_budget(scores, self.cost_model, kept, level="layers" if method in LAYERS else None)

    def methods(self) -> dict[str, Callable[[float], list[Encoder]]]:
        """Name -> budget -> the models that stand for it (several are averaged)."""
        prune = asc_core.compress

        def repaired(method: str, mode: Any) -> Callable[[float], list[Encoder]]:
            return lambda kept: [refit(self.encoder, self.plan(method, kept), self.calibration, mode)[0]]

        def scored(method: str) -> Callable[[float], list[Encoder]]:
            return lambda kept: [prune(self.encoder, self.plan(method, kept))]

        def whole(method: str) -> Callable[[float], list[Encoder]]:
            return lambda kept: [self.as_published(method, kept)]

        def dropped(strategy: Any) -> Callable[[float], list[Encoder]]:
            return lambda kept: [
                prune(self.encoder, by_layer_drop(self.encoder.shape, self.cost_model, kept, strategy))
            ]

        def chance(kept: float) -> list[Encoder]:
            draws = [asc_core.score(self.encoder, self.task, ["random"], seed=d)["random"] for d in range(RANDOM_DRAWS)]
            return [prune(self.encoder, by_budget(scores, self.cost_model, kept)) for scores in draws]

        return {
            OURS: repaired("obs", "sequential"),
            "obs, one-shot refit": repaired("obs", "one-shot"),
            "obs, no refit": scored("obs"),
            "fisher, sequential refit": repaired("fisher", "sequential"),
            **{method: whole(method) for method in WHOLE},
            **{method: scored(method) for method in (*SCORED, *LAYERS)},
            **{name: dropped(strategy) for name, strategy in DROPPED.items()},
            "random": chance,
        }

    def file(self, method: str, kept: float | None) -> Path:
        size = "" if (self.samples, self.tokens) == (SAMPLES, TOKENS) else f"-{self.samples}-{self.tokens}"
        return WORK / f"{self.name}-{self.seed}-{method.replace(', ', '-').replace(' ', '-')}-{kept}{size}.npz"

    def measured(self, method: str, kept: float, anew: bool) -> list[PerExampleResult]:
        """On the test split; read where it was measured before, empty where it was not and may not be now."""
        file = self.file(method, kept)
        if not (anew or file.exists()) or (self.seed and method in WITHOUT_CALIBRATION):
            return []
        try:
            return outcomes(file, partial(self.methods()[method], kept), self.task)
        except asc_core.UserError as error:
            print(f"{file.stem}: {error}", flush=True)  # no layer fits into the budget
            return []


def table(name: str, kept: tuple[float, ...], seeds: range, anew: Collection[str] | None) -> list[dict[str, Any]]:
    """anew: the methods that are measured where they were not before (None: all)."""
    checkpoints = [Checkpoint(name, seed) for seed in seeds]
    task = checkpoints[0].task
    dense = statistics(outcomes(checkpoints[0].file("dense", None), lambda: [checkpoints[0].encoder], task))
    before = {place_of(cell): cell for cell in committed("quality")["cells"]}
    cells = []
    for share in kept:
        gathered, seen = {}, {}
        for method in checkpoints[0].methods():
            may = anew is None or method in anew
            found = [measured for one in checkpoints if (measured := one.measured(method, share, may))]
            if found:
                gathered[method] = statistics([draw for measured in found for draw in measured])
                seen[method] = len(found)
        cell = compared(name, share, task, dense, gathered, seen, before.get((name, share)))
        if cell:
            print(json.dumps(cell), flush=True)
            cells.append(cell)
    return cells


def compared(
    name: str,
    share: float,
    task: Task,
    dense: np.ndarray,
    gathered: dict[str, np.ndarray],
    seen: dict[str, int],
    before: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """One cell of the table: points lost, ours against the best baseline.

    dense, gathered: outcomes by example. seen: of how many seeds. before: the committed cell; what it has of more seeds
    than there are outcomes at hand stays as it is there.
    """
    original = task.metric.value(dense)
    stays = {} if before is None else {m: n for m, n in before["seeds"].items() if n > seen.get(m, 0)}
    lost = {m: round(100 * (original - task.metric.value(f)), 2) for m, f in gathered.items()}
    lost |= {method: before["all_lost"][method] for method in stays if before}
    baselines = {method: value for method, value in lost.items() if "obs" not in method and "refit" not in method}
    if not {OURS, *STRONGEST} <= lost.keys():
        return None  # it would flatter
    best = min(baselines, key=baselines.__getitem__)
    cell = {
        "checkpoint": name,
        "kept": share,
        "lost": lost[OURS],
        "best_baseline": best,
        "best_baseline_lost": lost[best],
        "all_lost": dict(sorted(lost.items(), key=lambda item: item[1])),
        "seeds": seen | stays,
    }
    if before and {OURS, best} & stays.keys():
        told = [before[name] for name in ("best_baseline", "best_baseline_lost", "lost")]
        if [best, lost[best], lost[OURS]] != told:
            print(f"{name} at {share}: {OURS} and {best} must be measured again to be compared", flush=True)
            return None
        return cell | {"interval": before["interval"], "difference_interval": before["difference_interval"]}
    interval = difference_interval(dense, gathered[OURS], task)
    against = difference_interval(gathered[best], gathered[OURS], task)
    return cell | {
        "interval": [round(100 * v, 2) for v in interval],
        "difference_interval": [round(100 * v, 2) for v in against],
    }


def whole(cells: list[dict[str, Any]]) -> bool:
    """Whether it is the table of `--full`: every method in every cell, over 3 seeds where they draw its calibration."""
    methods = Checkpoint(next(iter(CHECKPOINTS)), 0).methods()
    seeds = {method: 1 if method in WITHOUT_CALIBRATION else FULL_SEEDS for method in methods}
    complete = {
        place_of(cell)
        for cell in cells
        if all(cell["seeds"].get(method, 0) >= count for method, count in seeds.items())
    }
    return complete == {(name, kept) for name in CHECKPOINTS for kept in KEPT}


def timings() -> dict[str, float]:
    """From a changed budget to the compressed model, scores and calibration in hand; and what it then runs at."""
    encoder, task = asc_core.load_encoder("demo:nli"), asc_core.load_task("demo:nli")
    cost_model = asc_core.task_cost_model(encoder, task)
    scores = asc_core.score(encoder, task, ["obs"], samples=SAMPLES)["obs"]
    calibration = calibrate(encoder, task, samples=SAMPLES, moments=True)
    found: dict[str, float] = {}
    for mode, name in (("one-shot", "seconds_one_shot"), ("sequential", "seconds_sequential")):
        taken = []
        for share in (0.5, 0.48, 0.52, 0.5):
            start = time.perf_counter()
            plan = by_budget(scores, cost_model, share)
            half, _ = refit(encoder, plan, calibration, mode)  # type: ignore[arg-type]
            taken.append(time.perf_counter() - start)
        found[name] = round(median(taken[1:]), 2)
    round_widths = encoder.cut(by_budget(scores, cost_model, 0.5, round_to=ROUND))
    models = {"original": encoder, "": half, f"_multiples_of_{ROUND}": round_widths}
    for batch in (1, 32):
        latency = measure_latency(models, cost_model.lengths, batch_size=batch, repeats=TURNS)
        for name in list(models)[1:]:
            found[f"latency_ratio_batch{batch}{name}"] = round(1 / latency[name].ratio, 3)
    return found


def earlier_timings() -> dict[str, Any]:
    """Those of the committed result, with the machine that they were taken on."""
    before = committed("quality")
    found = {name: value for name, value in before.items() if name.startswith(("seconds_", "latency_"))}
    return {**found, "timed_on": before.get("timed_on", before["machine"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", choices=[*CHECKPOINTS, []], help="default: the subset, or all")
    parser.add_argument("--kept", type=float, action="append", choices=KEPT, help="share of the FLOPs; may be repeated")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seeds", type=int, help="default 1, or 3 with --full")
    methods = list(Checkpoint(next(iter(CHECKPOINTS)), 0).methods())
    parser.add_argument("--method", action="append", choices=methods, help="measure only this; may be repeated")
    parser.add_argument("--collect", action="store_true", help="compute nothing: report what was measured")
    parser.add_argument("--time", action="store_true", help="the times alone")
    options = parser.parse_args()
    if options.time:
        timed = committed("quality") | timings() | {"timed_on": machine()}
        keep("quality", timed)
        print(json.dumps(timed))
        return
    unpack(OUTCOMES, WORK)
    everything = options.full or options.collect
    names = options.checkpoints or (list(CHECKPOINTS) if everything else SUBSET)
    kept = tuple(sorted(options.kept or (KEPT if everything else SUBSET_KEPT), reverse=True))
    seeds = range(options.seeds or (FULL_SEEDS if everything else 1))
    anew = () if options.collect else options.method
    cells = [cell for name in names for cell in table(name, kept, seeds, anew)]
    result: dict[str, Any] = {"full": whole(cells), "cells": cells}
    if not (options.checkpoints or options.kept or options.method):
        result |= earlier_timings() if options.collect else {**timings(), "timed_on": machine()}
        made = {place_of(cell): cell for cell in cells}
        before = {place_of(cell): cell for cell in committed("quality")["cells"]}
        gone = [place for place in product(names, kept) if place in before and place not in made]
        if gone:
            raise SystemExit(f"nothing is kept: {gone} of the committed table would be missing")
        together = [both[place] for place in product(CHECKPOINTS, KEPT) if place in (both := before | made)]
        keep("quality", result | {"full": whole(together), "cells": together})
        pack(WORK, OUTCOMES)
    print(json.dumps(result))


def place_of(cell: dict[str, Any]) -> tuple[str, float]:
    return cell["checkpoint"], cell["kept"]


if __name__ == "__main__":
    main()
