"""What repairs lose that are quicker than the one on all calibration tokens.

    python -m benchmarks.quick_repair                     four checkpoints, three budgets; goes on after a kill
    python -m benchmarks.quick_repair minilm-mrpc --kept 0.5
    python -m benchmarks.quick_repair --collect           the report of what was measured so far
    python -m benchmarks.quick_repair --anew              forget what was measured: the engine is another one

On the checkpoints in ../shared/models, plans by `obs` on 1,024 training examples at equal FLOPs. Four repairs of each:
all tokens   sequential, on all calibration tokens (65,536, of long texts fewer)
settled      sequential, on as many as `compress.settling` finds enough: what the dashboard ends with
quick        one-shot, on the moments of as many: what it shows first once an application is prepared
first slice  one-shot, on the moments of the first 2,048: what it shows first right after scoring
Points of the test metric that each loses more than the one on all tokens, paired by example; nothing is chosen on these
splits, and how many tokens are enough is found on training texts. The last line is one JSON object. The result is kept
in benchmarks/results/quick_repair.json, outcomes by test example beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from asc_core.compress.calibrations import Calibrations
from asc_core.compress.cut import Cut
from asc_core.encoder import Encoder
from asc_core.plan import by_budget
from asc_core.recipes import Recipe
from asc_core.recipes.agnosticism_gap import mean_difference
from asc_core.tasks import Task
from asc_core.values import Plan
from benchmarks.machine import RESULTS, committed, keep
from benchmarks.outcomes import difference_interval, outcomes, pack, statistics, unpack
from benchmarks.quality import Checkpoint
from benchmarks.trust import CHECKPOINTS

NAME = "quick_repair"
KEPT = (0.7, 0.5, 0.3)
HALF = 0.5
ALL, SETTLED, QUICK, FIRST = "all tokens", "settled", "quick", "first slice"
QUICKER = (SETTLED, QUICK, FIRST)
WORK = Path("build") / NAME
OUTCOMES = RESULTS / "quick-repair-outcomes.npz"


@dataclass
class Repairs:
    """The repairs of one checkpoint's cuts."""

    name: str

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.name, seed=0)

    @cached_property
    def calibrations(self) -> Calibrations:
        return Calibrations()

    def recipe(self, kept: float, settles: bool) -> Recipe:
        plan = by_budget(self.checkpoint.obs, self.checkpoint.cost_model, kept)
        return Recipe.repaired(plan, until_settled=settles)

    def built(self, form: str, kept: float) -> list[Encoder]:
        encoder, task = self.checkpoint.encoder, self.checkpoint.task
        if form == FIRST:
            made = self.recipe(kept, True).made(encoder, task, calibrations=Calibrations(), provisional=True)
            return [made.encoder]
        if form != ALL:
            self.settled_tokens()
        return [
            self.recipe(kept, form != ALL)
            .made(encoder, task, calibrations=self.calibrations, provisional=form == QUICK)
            .encoder
        ]

    def settled_tokens(self) -> int:
        """How many tokens are enough; kept beside the outcomes."""
        encoder, task = self.checkpoint.encoder, self.checkpoint.task
        cut = Cut(plan=Plan.full(encoder.shape), repair="sequential", until_settled=True)
        tokens = self.calibrations.get(encoder, task, **cut.calibrating(encoder)).tokens
        self.tokens_file.write_text(json.dumps(tokens), encoding="utf-8")
        return tokens

    @property
    def tokens_file(self) -> Path:
        return WORK / f"{self.name}-tokens.json"

    def file(self, form: str, kept: float | None) -> Path:
        return WORK / f"{self.name}-{form.replace(' ', '-')}-{kept}.npz"

    def measured(self, form: str, kept: float) -> np.ndarray:
        """(examples, k) on the test split; read where it was measured before."""
        return statistics(outcomes(self.file(form, kept), partial(self.built, form, kept), self.checkpoint.task))

    def original(self) -> np.ndarray:
        return statistics(outcomes(self.file("dense", None), lambda: [self.checkpoint.encoder], self.checkpoint.task))

    def there(self, kept: float) -> bool:
        """Whether all of a cell was measured."""
        return all(self.file(form, kept).exists() for form in (ALL, *QUICKER))


def measured(names: Sequence[str] = tuple(CHECKPOINTS), kept: Sequence[float] = KEPT, anew: bool = True) -> Any:
    """Measure what was not measured yet, and keep all that is there. anew: False = measure nothing."""
    unpack(OUTCOMES, WORK)
    cells = []
    for repairs in map(Repairs, names):
        if anew:
            for form in (FIRST, QUICK, SETTLED, ALL):  # calibrations are large: one after the other
                for share in kept:
                    repairs.measured(form, share)
        for share in kept:
            if repairs.there(share):
                cells.append(cell(repairs, share))
                print(json.dumps(cells[-1]), flush=True)
    result = with_committed(cells)
    keep(NAME, result)
    pack(WORK, OUTCOMES)
    return result


def cell(repairs: Repairs, kept: float) -> dict[str, Any]:
    """Points lost to the original, and to the repair on all tokens with the paired 95 % interval."""
    task, original = repairs.checkpoint.task, repairs.original()
    found = {form: repairs.measured(form, kept) for form in (ALL, *QUICKER)}
    lost = {form: task.metric.value(original) - task.metric.value(one) for form, one in found.items()}
    return {
        "checkpoint": repairs.name,
        "kept": kept,
        "lost": {form: round(100 * value, 2) for form, value in lost.items()},
        "more": {form: against(found[ALL], found[form], task) for form in QUICKER},
        "settled_tokens": json.loads(repairs.tokens_file.read_text()) if repairs.tokens_file.exists() else None,
    }


def against(full: np.ndarray, quicker: np.ndarray, task: Task) -> list[float]:
    """[points that the quicker repair loses more, lower end, upper end]"""
    more = task.metric.value(full) - task.metric.value(quicker)
    return [round(100 * value, 2) for value in (more, *difference_interval(full, quicker, task))]


def with_committed(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The cells beside those that were kept before, in order; means over checkpoints where all are there."""
    before = committed(NAME)["cells"] if (RESULTS / f"{NAME}.json").exists() else []
    known = {(one["checkpoint"], one["kept"]): one for one in before}
    for one in cells:
        place = one["checkpoint"], one["kept"]
        tokens = one["settled_tokens"] or known.get(place, {}).get("settled_tokens")
        known[place] = one | {"settled_tokens": tokens}
    places = [(name, kept) for name in CHECKPOINTS for kept in KEPT]
    ordered = [known[place] for place in places if place in known]
    means = {
        str(kept): {form: mean_more(form, kept) for form in QUICKER}
        for kept in KEPT
        if all((name, kept) in known and Repairs(name).there(kept) for name in CHECKPOINTS)
    }
    return {"cells": ordered, "mean_more": means}


def mean_more(form: str, kept: float) -> list[float]:
    """[points, lower end, upper end], the mean over the checkpoints."""
    everyone = [Repairs(name) for name in CHECKPOINTS]
    pairs = [(one.measured(ALL, kept), one.measured(form, kept), one.checkpoint.task.metric) for one in everyone]
    mean, ends = mean_difference(pairs)
    return [round(100 * value, 2) for value in (mean, *ends)]


def lost_more() -> float | None:
    """Points that the quick repair loses more than the full one, mean at half the FLOPs; None where it is not known."""
    if not (RESULTS / f"{NAME}.json").exists():
        return None
    found = committed(NAME)["mean_more"].get(str(HALF))
    return None if found is None else float(found[QUICK][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", choices=[*CHECKPOINTS, []], help="default: all")
    parser.add_argument("--kept", type=float, action="append", choices=KEPT, help="share of the FLOPs; may be repeated")
    parser.add_argument("--collect", action="store_true", help="compute nothing: report what was measured")
    parser.add_argument("--anew", action="store_true", help="forget what was measured before")
    options = parser.parse_args()
    if options.anew:
        for file in (OUTCOMES, RESULTS / f"{NAME}.json", *WORK.glob("*")):
            file.unlink(missing_ok=True)
    names = options.checkpoints or tuple(CHECKPOINTS)
    print(json.dumps(measured(names, options.kept or KEPT, anew=not options.collect)))


if __name__ == "__main__":
    main()
