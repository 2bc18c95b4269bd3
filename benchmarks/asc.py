"""ASC as published, carried further: what training after the cut gets, and what knowing the application is worth.

    python -m benchmarks.asc                          SICK, half of the layers' parameters, 1 seed; the matrix at half
    python -m benchmarks.asc --full                   every task, size and seed; goes on after a kill (some hours)
    python -m benchmarks.asc mrpc --seeds 3 --size 0.5
    python -m benchmarks.asc --demo                   the matrix of the embedded demo's five applications
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
`--paper` is the paper's own table: similarity 0.90, 0.85, 0.80, with size and speed-up, and its baselines: the uncut
model, 90 % of the layers' weights zeroed by magnitude with int8 linears, half the layers at random over 5 seeds, and
smaller pre-trained encoders where the hub is reachable (or `--shelf FOLDER`), fine-tuned alike.
`price_of_agnosticism`: see `asc_core.recipes.agnosticism_gap`. `--demo` is the same matrix of applications that differ
more: questions on a text, two kinds of pairs, intents with slots, and sentiment.
The last line is one JSON object. `--collect` keeps it in benchmarks/results/asc.json, and the outcomes by test example
in asc-outcomes.npz beside it: what is in there is not measured again. `--paper` keeps its table in asc.json.
"""

from __future__ import annotations

import argparse
import json
import statistics as summary
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import asc_core
from asc_core.evaluate import PerExampleResult
from asc_core.recipes import agnosticism_gap, transfer_matrix
from asc_core.tasks import Task
from benchmarks import asc_paper
from benchmarks.applications import DEMO, METHODS, STEPS, TRAINED_WITH, WORK, Application
from benchmarks.machine import RESULTS, committed, keep, machine
from benchmarks.outcomes import difference_interval, outcomes, pack, statistics, store, unpack
from benchmarks.trust import CHECKPOINTS, SHARED

OUTCOMES = RESULTS / "asc-outcomes.npz"
SIZES = (0.5, 0.3)


def table(
    applications: dict[str, Application], sizes: list[float], seeds: int, only_read: bool, methods: Sequence[str]
) -> list[Any]:
    """A row for each task and size: every method's metric over seeds, and what it loses to the original."""
    rows = []
    for name, application in applications.items():
        original = WORK / f"{name}-original.npz"
        if only_read and not original.exists():
            continue
        task, metric = application.task, application.task.metric
        dense = statistics(outcomes(original, lambda: [application.encoder], task))  # noqa: B023 (called at once)
        for size in sizes:
            found = {}
            for method in methods:
                measured = application.measured(method, size, seeds, only_read)
                if measured:
                    found[method] = row_of(measured, dense, task)
            if found:
                about = {"task": name, "size": size, "metric": metric.name, "original": round(metric.value(dense), 4)}
                rows.append(about | {"methods": found})
                print(json.dumps(rows[-1]), flush=True)
    return rows


def with_committed(rows: list[dict[str, Any]], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each method as it was measured over the most seeds."""
    merged = {(row["task"], row["size"]): row for row in before}
    for row in rows:
        key = row["task"], row["size"]
        known = merged[key]["methods"] if key in merged else {}
        stay = {name: one for name, one in known.items() if one["seeds"] > row["methods"].get(name, one)["seeds"]}
        both = known | row["methods"] | stay
        merged[key] = row | {"methods": {name: both[name] for name in METHODS if name in both}}
    return list(merged.values())


def of_most_seeds(made: list[dict[str, Any]], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The matrices, each size as it was measured over the most seeds."""
    of_sizes = {one["size"]: one for one in made}
    of_sizes |= {one["size"]: one for one in before if one["seeds"] > of_sizes.get(one["size"], {"seeds": 0})["seeds"]}
    return [of_sizes[size] for size in sorted(of_sizes, reverse=True)]


def row_of(measured: list[PerExampleResult], dense: np.ndarray, task: Task) -> dict[str, Any]:
    """Mean and spread over seeds; what is lost, with the interval over test examples of the mean over seeds."""
    values = [task.metric.value(outcome.statistics) for outcome in measured]
    low, high = difference_interval(dense, statistics(measured), task)
    return {
        "value": round(summary.fmean(values), 4),
        "spread": round(summary.stdev(values), 4) if len(values) > 1 else None,
        "seeds": len(values),
        "lost": round(100 * (task.metric.value(dense) - summary.fmean(values)), 2),
        "lost_interval": [round(100 * low, 2), round(100 * high, 2)],
    }


class Outcomes(dict[str, PerExampleResult]):
    """Cells of a matrix on disk, by key."""

    def get(self, key: str, default: Any = None) -> Any:
        file = self.file(key)
        return outcomes(file, list, None)[0] if file.exists() else default  # type: ignore[arg-type]

    @staticmethod
    def file(key: str) -> Path:
        return WORK / f"{key.replace(':', '-')}.npz"


def matrices(applications: dict[str, Application], sizes: list[float], seeds: int, only_read: bool) -> list[Any]:
    """Compressed for one, measured on all, on the test splits: a matrix for each size, means over seeds."""
    apps = [transfer_matrix.Application(name, one.encoder, one.task) for name, one in applications.items()]
    made = []
    for size in sizes:
        of_seeds: dict[tuple[str, str], list[PerExampleResult]] = {}
        for seed in range(seeds):
            asked = transfer_matrix.Settings(keep=size, seed=seed, split="test")
            asked_for = transfer_matrix.TransferMatrix(apps, asked, general_text(), known=Outcomes())
            if only_read:
                wanted = {asked_for.key(row, column) for row in asked_for.rows for column in apps}
                if not all(Outcomes.file(key).exists() for key in wanted):
                    continue
            whole = asked_for  # the last seed that is there
            for column in apps:
                original = whole.key(transfer_matrix.ORIGINAL, column)
                outcomes(Outcomes.file(original), lambda: [column.encoder], column.task)  # noqa: B023
            for cell in whole.cells():
                store(Outcomes.file(cell.key), [cell.measured])
                of_seeds.setdefault((cell.row, cell.column), []).append(cell.measured)
        if of_seeds:
            made.append(summarised(whole, of_seeds, size))
            print(json.dumps(made[-1]), flush=True)
    return made


def summarised(whole: Any, of_seeds: dict[tuple[str, str], list[PerExampleResult]], size: float) -> dict[str, Any]:
    """cells: row -> column -> mean metric over seeds. prices: of not knowing the application."""
    means = [
        replace(cell, measured=replace(cell.measured, statistics=statistics(of_seeds[cell.row, cell.column])))
        for cell in whole.cells()
    ]
    tasks = {application.name: application.task for application in whole.applications}
    cells: dict[str, dict[str, float]] = {}
    for cell in means:
        value = tasks[cell.column].metric.value(cell.measured.statistics)
        cells.setdefault(cell.row, {})[cell.column] = round(value, 4)
    return {
        "size": size,
        "seeds": len(next(iter(of_seeds.values()))),
        "original": {a.name: round(a.task.metric.value(whole.original(a).statistics), 4) for a in whole.applications},
        "cells": cells,
        "prices": [
            {"row": p.row, "points": round(100 * p.value, 2), "interval": [round(100 * end, 2) for end in p.interval]}
            for p in agnosticism_gap.agnosticism_gaps(whole, means)
        ],
    }


def general_text() -> Task:
    """Sentences of Wikipedia: the first ones of PAWS-X pairs, without their labels."""
    lines = (SHARED / "data/pawsx/dev-en.tsv").read_text(encoding="utf-8").splitlines()
    texts = WORK / "general.jsonl"
    texts.write_text("".join(json.dumps({"text": line.split("\t")[0]}) + "\n" for line in lines), encoding="utf-8")
    file = WORK / "general.toml"
    data = f'[data]\ntrain = "{texts.resolve().as_posix()}"\n'
    file.write_text(f'kind = "text-classification"\ntexts = ["text"]\n{data}', encoding="utf-8")
    return asc_core.load_task(str(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TRAINED_WITH, []], help="default: sick, or all with --full")
    parser.add_argument("--size", type=float, action="append", help="share of the layers' parameters; may be repeated")
    parser.add_argument("--seeds", type=int, help="default 1, or 3 with --full")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--method", action="append", choices=list(METHODS), help="default: all; may be repeated")
    parser.add_argument("--paper", action="store_true", help="the paper's table alone")
    parser.add_argument("--shelf", action="append", help="a smaller pre-trained encoder for it; may be repeated")
    parser.add_argument("--matrix", action="store_true", help="the matrix alone")
    parser.add_argument("--demo", action="store_true", help="the matrix of the demo's applications alone")
    parser.add_argument("--collect", action="store_true", help="compute nothing: report what was measured")
    options = parser.parse_args()
    unpack(OUTCOMES, WORK)
    everything = options.full or options.collect
    names = options.tasks or (list(TRAINED_WITH) if everything else ["sick"])
    sizes = options.size or list(SIZES if everything else SIZES[:1])
    seeds = options.seeds or (3 if everything else 1)
    applications = {name: Application(name) for name in names if f"minilm-{name}" in CHECKPOINTS}
    result: dict[str, Any] = {"steps": STEPS, "sizes": [], "matrices": [], "demo_matrices": [], "paper": []}
    alone = options.matrix or options.paper or options.demo
    if not alone:
        result["sizes"] = table(applications, sizes, seeds, options.collect, options.method or list(METHODS))
    if options.matrix or everything or not (options.tasks or alone):
        everyone = {name: Application(name) for name in TRAINED_WITH}
        result["matrices"] = matrices(everyone, sizes, seeds, options.collect)
    if options.demo or everything:
        of_the_demo = {name: Application(name) for name in DEMO}
        result["demo_matrices"] = matrices(of_the_demo, sizes, seeds, options.collect)
    if options.paper:
        for application in applications.values():
            for row in asc_paper.rows(application, options.shelf or asc_paper.OFF_THE_SHELF):
                result["paper"].append(row)
                print(json.dumps(row), flush=True)
    kept = committed("asc")
    if options.collect:  # what has more seeds there than outcomes are at hand stays as it is committed
        result["sizes"] = with_committed(result["sizes"], kept["sizes"])
        for name in ("matrices", "demo_matrices"):
            result[name] = of_most_seeds(result[name], kept.get(name, []))
    first = next((made["prices"][0] for made in result["matrices"] if made["size"] == 0.5 and made["prices"]), None)
    result["price_of_agnosticism"] = first
    if options.collect and not (options.tasks or options.size):
        # The paper's table has timings, which are not taken beside other work.
        keep("asc", kept | result | {"paper": kept["paper"]})
        pack(WORK, OUTCOMES)
    elif options.paper:
        others = [row for row in kept["paper"] if row["task"] not in applications]
        keep("asc", kept | {"paper": others + result["paper"], "paper_timed_on": machine()})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
