"""ASC as published, carried further: what training after the cut gets, and what knowing the application is worth.

    python -m benchmarks.asc                          SICK, half of the layers' parameters, 1 seed; the matrix at half
    python -m benchmarks.asc --full                   every task, size and seed; goes on after a kill (some hours)
    python -m benchmarks.asc mrpc --seeds 3 --size 0.5
    python -m benchmarks.asc --collect                the report of all that was measured so far

On the checkpoints in ../shared/models and the data that they were trained on (the first 3,000 pairs of SICK), at equal
shares of the layers' parameters, embeddings and head not counted. All recoveries take 200 steps of 32 at the learning
rate that the checkpoint was fine-tuned with, and keep the best epoch by validation, cut from the training split.
  ASC          whole layers by the threshold-greedy rule on similarity B, at that threshold which meets the size, then
               fine-tuned again
  ASC+         heads and neurons by `obs`, sequential refit, distilled from the fine-tuned original
  ASC+ untrained   the same before distillation
  Sajjad       top layers dropped from the pre-trained encoder, then fine-tuned once, with the checkpoint's epochs
  greedy       the layer that is missed least, again and again, then fine-tuned
  random       layers drawn by the seed, then fine-tuned
The seed draws calibration texts, random layers, batches and dropout. Test splits are read once, for this table.
`thresholds` is the paper's own table: similarity 0.90, 0.85, 0.80, with size and speed-up, and its baselines as far as
they can be had without a hub: the uncut model, 90 % of the layers' weights zeroed by magnitude and int8 weights, and
half the layers at random over 5 seeds. `price_of_agnosticism`: see `asc_core.recipes.matrix`.
The last line is one JSON object, kept in benchmarks/results/asc.json.
"""

from __future__ import annotations

import argparse
import json
import statistics as summary
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import asc_core
from asc_core.compress.choose import CutToBudget
from asc_core.demo.encoder import encoder_folder
from asc_core.encoder import Encoder
from asc_core.recipes import Recipe
from asc_core.tasks import Task
from asc_core.train.steps import Distil, Finetune
from benchmarks.machine import keep
from benchmarks.outcomes import difference_interval, outcomes, statistics
from benchmarks.trust import CHECKPOINTS, SHARED, sources

WORK = Path("build/asc")
STEPS = 200
SIZES = (0.5, 0.3)
TRAINED_WITH: dict[str, dict[str, Any]] = {  # as ../shared/models says
    "sick": {"lr": 1e-4, "epochs": 2},
    "mrpc": {"lr": 1e-4, "epochs": 2},
    "squad": {"lr": 2e-4, "epochs": 3},
}
METHODS = ("ASC+", "ASC+ untrained", "ASC", "Sajjad", "greedy", "random")


@dataclass
class Application:
    """One checkpoint and its task."""

    name: str

    @cached_property
    def encoder(self) -> Encoder:
        return asc_core.load_encoder(sources(f"minilm-{self.name}", WORK)[0])

    @cached_property
    def task(self) -> Task:
        path = Path(sources(f"minilm-{self.name}", WORK)[1])
        if self.name == "sick":  # what the checkpoint has seen, and no more
            lines = (SHARED / "data/sick/train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
            seen = WORK / "sick-train.tsv"
            seen.write_text("".join(lines[:3001]), encoding="utf-8")
            text = path.read_text(encoding="utf-8").replace(
                (SHARED / "data/sick/train.tsv").as_posix(), seen.resolve().as_posix()
            )
            path.write_text(text, encoding="utf-8")
        return asc_core.load_task(str(path))

    @cached_property
    def base(self) -> Encoder:
        """The pre-trained encoder."""
        return asc_core.load_encoder(encoder_folder())

    def recipe(self, method: str, size: float, seed: int) -> tuple[Encoder, Recipe]:
        """What it starts from, and the steps."""
        lr, epochs = TRAINED_WITH[self.name]["lr"], TRAINED_WITH[self.name]["epochs"]

        def cut(scores: str, repair: Any = None) -> CutToBudget:
            return CutToBudget(method=scores, keep=size, budget="layer-parameters", repair=repair, seed=seed)

        again = Finetune(epochs=STEPS, steps=STEPS, lr=lr, seed=seed, patience=None)
        plus = cut("obs", "sequential")
        steps: dict[str, tuple[Any, ...]] = {
            "ASC": (cut("asc-b"), again),
            "ASC+": (plus, Distil(steps=STEPS, lr=lr, seed=seed, patience=None)),
            "ASC+ untrained": (plus,),
            "Sajjad": (cut("top-layers"), Finetune(epochs=epochs, lr=lr, seed=seed, patience=None)),
            "greedy": (cut("greedy-layers"), again),
            "random": (cut("random-layers"), again),
        }
        return self.base if method == "Sajjad" else self.encoder, Recipe(steps[method], task=self.task.name)

    def build(self, method: str, size: float, seed: int) -> Encoder:
        start, recipe = self.recipe(method, size, seed)
        return recipe.apply(start, self.task, folder=WORK / "recipes" / f"{self.name}-{method}-{size}-{seed}")

    def file(self, method: str, size: float, seed: int) -> Path:
        return WORK / f"{self.name}-{method.replace(' ', '-')}-{size}-{seed}.npz"


def table(applications: dict[str, Application], sizes: list[float], measured_only: bool, seeds: int) -> list[Any]:
    """A row for each task and size: every method's metric over seeds, and what it loses to the original."""
    rows = []
    for name, application in applications.items():
        dense_file = WORK / f"{name}-original.npz"
        if measured_only and not dense_file.exists():
            continue
        dense = statistics(outcomes(dense_file, lambda a=application: [a.encoder], application.task))  # type: ignore[misc]
        metric = application.task.metric
        for size in sizes:
            row: dict[str, Any] = {"task": name, "size": size, "metric": metric.name, "original": metric.value(dense)}
            found: dict[str, Any] = {}
            for method in METHODS:
                of_seeds = []
                for seed in range(seeds):
                    file = application.file(method, size, seed)
                    if measured_only and not file.exists():
                        continue
                    build: Callable[[], list[Encoder]] = lambda m=method, s=size, d=seed, a=application: [  # type: ignore[misc]
                        a.build(m, s, d)
                    ]
                    try:
                        of_seeds += outcomes(file, build, application.task)
                    except asc_core.UserError as error:
                        print(f"{name} {size} {method}: {error}", flush=True)
                        break
                if not of_seeds:
                    continue
                values = [metric.value(outcome.statistics) for outcome in of_seeds]
                low, high = difference_interval(dense, statistics(of_seeds), application.task)
                found[method] = {
                    "value": round(summary.fmean(values), 4),
                    "spread": round(summary.stdev(values), 4) if len(values) > 1 else None,
                    "seeds": len(values),
                    "lost": round(100 * (row["original"] - summary.fmean(values)), 2),
                    "lost_interval": [round(100 * low, 2), round(100 * high, 2)],
                }
            if found:
                rows.append(row | {"methods": found})
                print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TRAINED_WITH, []], help="default: sick, or all with --full")
    parser.add_argument("--size", type=float, action="append", help="share of the layers' parameters; may be repeated")
    parser.add_argument("--seeds", type=int, help="default 1, or 3 with --full")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--collect", action="store_true", help="compute nothing: report what was measured")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    everything = options.full or options.collect
    names = options.tasks or (list(TRAINED_WITH) if everything else ["sick"])
    sizes = options.size or list(SIZES if everything else SIZES[:1])
    seeds = options.seeds or (3 if everything else 1)
    applications = {name: Application(name) for name in names if f"minilm-{name}" in CHECKPOINTS}
    result = {"steps": STEPS, "sizes": table(applications, sizes, options.collect, seeds)}
    keep("asc", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
