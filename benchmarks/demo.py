"""What a cut costs each demo application, without repair or training.

    python benchmarks/demo.py

For every application and budget, the test metric of the model cut by Fisher scores (1,024 training examples, 3
calibration seeds), by random scores (3 seeds) and, where its rule reaches the budget, by ASC's similarity; no
retraining and no repair. Nothing is chosen on the test split. Latency is that of the Fisher cut against the original,
measured in turns in this process. The last line is one JSON object.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

import asc_core
from asc_core.demo import applications
from asc_core.evaluate import measure, measure_latency
from asc_core.evaluate.estimates import estimate
from benchmarks.machine import keep

BUDGETS = (0.8, 0.6, 0.5)
SEEDS = (0, 1, 2)
METHODS = ("fisher", "random", "asc-b")


def application_table(name: str) -> dict[str, Any]:
    encoder, task = asc_core.load_encoder(name), asc_core.load_task(name)
    cost_model = asc_core.task_cost_model(encoder, task)
    original = measure(encoder, task, "test")
    scores = {seed: asc_core.score(encoder, task, METHODS, seed=seed) for seed in SEEDS}
    cells = []
    for keep_flops in BUDGETS:
        for method in METHODS:
            seeds = SEEDS if method != "asc-b" else SEEDS[:1]  # its matrix hardly moves with the sample
            values, differences, kept = [], [], []
            for seed in seeds:
                plan = asc_core.by_budget(scores[seed][method], cost_model, keep_flops)
                measured = measure(asc_core.compress(encoder, plan), task, "test")
                found = estimate(measured, task.metric, original)
                values.append(found.value)
                differences.append((found.difference, *(found.difference_interval or ())))
                kept.append(cost_model.cost(plan).flops / cost_model.dense.flops)
            cell = {
                "budget": keep_flops,
                "method": method,
                "kept_flops": float(np.mean(kept)),
                "value": float(np.mean(values)),
                "spread": [min(values), max(values)],
                "difference": float(np.mean([d[0] for d in differences])),
                "difference_interval_seed_0": differences[0][1:],
            }
            print(name, cell, flush=True)
            cells.append(cell)
    half = asc_core.compress(encoder, asc_core.by_budget(scores[0]["fisher"], cost_model, 0.5))
    latency = {
        str(batch): {
            model: asdict(found)
            for model, found in measure_latency(
                {"original": encoder, "half": half}, cost_model.lengths, batch_size=batch
            ).items()
        }
        for batch in (1, 32)
    }
    dense = estimate(original, task.metric)
    return {
        "application": name,
        "metric": dense.metric,
        "original": dense.value,
        "interval": dense.interval,
        "examples": dense.examples,
        "split": dense.split,
        "cells": cells,
        "latency_at_half_the_flops": latency,
    }


def main() -> None:
    tables = [application_table(f"demo:{a.name}") for a in applications() if a.report is not None]
    keep("demo", {"budgets": BUDGETS, "seeds": SEEDS, "applications": tables})
    print(json.dumps({t["application"]: {"original": t["original"], "cells": t["cells"]} for t in tables}))


if __name__ == "__main__":
    main()
