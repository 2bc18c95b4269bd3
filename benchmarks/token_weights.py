"""How much tokens should count by how strongly the outputs feel them: chosen on texts that no test split holds.

    python -m benchmarks.token_weights            goes on after a kill; about 20 minutes

`obs.GRADIENT_WEIGHT` weighs tokens in the scores, `calibration.GRADIENT_SHARE` in the refit. Each pair is tried on the
checkpoints in ../shared/models that the table of `benchmarks.quality` uses, at 0.3 and 0.2 of the FLOPs, and measured
on the validation split (cut from the training split where the data have none). The pair with the least mean loss is
the one to be used; the last line is one JSON object, kept in benchmarks/results/token_weights.json.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import asc_core
from asc_core.compress import calibrate, calibration, refit
from asc_core.encoder import Encoder
from asc_core.plan import by_budget
from asc_core.scores import obs
from asc_core.tasks import Task
from asc_core.values import Scores
from benchmarks.machine import keep
from benchmarks.outcomes import outcomes
from benchmarks.trust import sources

PAIRS = ((0.0, 0.0), (0.5, 0.5), (0.9, 0.5), (0.5, 0.9), (0.9, 0.9))  # of the scores, of the refit
KEPT = (0.3, 0.2)
CHECKPOINTS = ("minilm-sick", "minilm-clinc150", "minilm-mrpc")
SAMPLES = 1024
WORK = Path("build/token_weights")


@dataclass
class Pair:
    """One checkpoint with one pair of weights; what all sizes share is made once, when it is first needed."""

    encoder: Encoder
    task: Task
    of_scores: float
    of_refit: float

    @cached_property
    def scores(self) -> Scores:
        obs.GRADIENT_WEIGHT = self.of_scores
        return asc_core.score(self.encoder, self.task, ["obs"], samples=SAMPLES)["obs"]

    @cached_property
    def texts(self) -> calibration.Calibration:
        calibration.GRADIENT_SHARE = self.of_refit
        return calibrate(self.encoder, self.task, samples=SAMPLES)

    def build(self, kept: float) -> list[Encoder]:
        plan = by_budget(self.scores, asc_core.task_cost_model(self.encoder, self.task), kept)
        return [refit(self.encoder, plan, self.texts)[0]]


def lost(name: str) -> dict[str, list[float]]:
    """ "SCORES/REFIT" -> points lost on validation at each of `KEPT`."""
    encoder_source, task_source = sources(name, WORK)
    encoder, task = asc_core.load_encoder(encoder_source), asc_core.load_task(task_source)
    (dense,) = outcomes(WORK / f"{name}-original.npz", lambda: [encoder], task, "validation")
    found: dict[str, list[float]] = {}
    for pair in (Pair(encoder, task, *weights) for weights in PAIRS):
        key = f"{pair.of_scores}/{pair.of_refit}"
        for kept in KEPT:
            file = WORK / f"{name}-{key.replace('/', '-')}-{kept}.npz"
            (measured,) = outcomes(file, partial(pair.build, kept), task, "validation")
            points = 100 * (task.metric.value(dense.statistics) - task.metric.value(measured.statistics))
            found.setdefault(key, []).append(round(points, 2))
        print(name, key, found[key], flush=True)
    return found


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    all_lost = {name: lost(name) for name in CHECKPOINTS}
    pairs = [f"{a}/{b}" for a, b in PAIRS]
    mean = {pair: round(statistics.fmean(p for one in all_lost.values() for p in one[pair]), 2) for pair in pairs}
    result = {"kept": KEPT, "lost": all_lost, "mean": mean, "best": min(mean, key=mean.__getitem__)}
    keep("token_weights", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
