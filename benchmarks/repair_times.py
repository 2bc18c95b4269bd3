"""What a repair takes in the engine, beside the least that its arithmetic could take on this machine.

    python -m benchmarks.repair_times [--rounds 5] [demo:nli ...]

Half of the FLOPs and budgets beside it, by `obs` on 512 examples, one application after the other, everything in one
process. The least time is FLOPs over the peak of a matrix product, which is measured in every round: the calibration
tokens' way through the cut model, and the systems that are solved for every readout (five ridges tried on the texts
that are fitted to, the best one on all). Sums of products over tokens are no part of it, since a better method might do
with fewer; how many FLOPs they are stands beside it. `benchmarks.at_once` keeps the table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any, TypeVar

import numpy as np

import asc_core
from asc_core.compress.calibration import Calibration
from asc_core.compress.calibrations import Calibrations
from asc_core.compress.cut import Cut
from asc_core.compress.refit import RIDGES
from asc_core.encoder import Encoder
from asc_core.plan import by_budget
from asc_core.recipes import Recipe
from asc_core.tasks import Task
from asc_core.values import Plan
from benchmarks.evaluate import peak

APPLICATIONS = ("demo:nli", "demo:qa")
SAMPLES = 512
HALF, STEP = 0.5, 0.01
Value = TypeVar("Value")


def timed(work: Callable[[], Value]) -> tuple[float, Value]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def table(rounds: int, names: tuple[str, ...] = APPLICATIONS) -> dict[str, Any]:
    found = {}
    for name in names:
        found[name] = of_application(asc_core.load_encoder(name), asc_core.load_task(name), rounds)
        print(json.dumps({name: found[name]}), flush=True)
    return found


def of_application(encoder: Encoder, task: Task, rounds: int) -> dict[str, Any]:
    costs = asc_core.task_cost_model(encoder, task)
    scores = asc_core.score(encoder, task, ["obs"], samples=SAMPLES)["obs"]
    calibrations = Calibrations()
    asked = usual(Plan.full(encoder.shape)).calibrating(encoder)
    slice_s, first = timed(lambda: calibrations.first(encoder, task, **asked))
    rest_s, calibration = timed(lambda: calibrations.get(encoder, task, **asked))
    rows = []
    for number in range(rounds + 1):
        plan_s, plan = timed(lambda: by_budget(scores, costs, HALF - STEP * number))  # noqa: B023 (called at once)
        recipe = Recipe((usual(plan),))
        quick_s, quick = timed(
            lambda: recipe.made(encoder, task, calibrations=calibrations, provisional=True)  # noqa: B023
        )
        full_s, full = timed(lambda: recipe.made(encoder, task, calibrations=calibrations))  # noqa: B023
        speed = peak()
        forward, solving, sums = arithmetic(full.encoder, calibration)
        rows.append(
            {
                "plan_s": plan_s,
                "quick_s": quick_s,
                "full_s": full_s,
                "least_s": (forward + solving) / speed,
                "full_over_least": full_s * speed / (forward + solving),
                "full_over_least_with_sums": full_s * speed / (forward + solving + sums),
                "quick_over_least": quick_s * speed / solving,
                "forward_gflop": forward / 1e9,
                "solving_gflop": solving / 1e9,
                "sums_gflop": sums / 1e9,
                "peak_gflops": speed / 1e9,
            }
        )
    kept = rows[1:]  # the first round warms up
    return {
        "first_slice_s": round(slice_s, 2),
        "first_slice_tokens": first.tokens,
        "settled_s": round(slice_s + rest_s, 2),
        "settled_tokens": calibration.tokens,
        "quick": quick.provisional,
        **{name: round(median(row[name] for row in kept), 3) for name in kept[0]},
        "range": {
            name: [round(pick(row[name] for row in kept), 3) for pick in (min, max)] for name in ("quick_s", "full_s")
        },
    }


def usual(plan: Plan) -> Cut:
    """As the dashboard cuts and repairs."""
    return Cut(plan=plan, repair="sequential", until_settled=True)


def arithmetic(cut: Encoder, calibration: Calibration) -> tuple[float, float, float]:
    """FLOPs of (the tokens' way through a cut model, the systems solved, the sums that they come from)."""
    lengths = np.concatenate([text.real.sum(1).numpy() for text in calibration.texts])
    forward = cut.cost(lengths).flops * len(lengths)
    solving = sums = 0.0
    for readout in cut.readouts:
        columns, hidden = readout.columns + (readout.bias is not None), cut.shape.hidden
        factor, substitution = columns**3 / 3, 2 * columns**2 * hidden
        solving += (len(RIDGES) + 1) * (factor + substitution)
        sums += calibration.tokens * (columns**2 + 2 * columns * hidden)  # of a symmetric product only a half
    return forward, solving, sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("applications", nargs="*", default=APPLICATIONS)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(table(options.rounds, tuple(options.applications))))


if __name__ == "__main__":
    main()
