"""What half the FLOPs take: plans under several budgets and in multiples, against the original.

    python -m benchmarks.latency                    demo:nli, scores by obs, batches of 1 and of 32
    python -m benchmarks.latency --rounds 1         a quick look

At half of demo:nli's FLOPs, by FLOPs alone, with FLOPs and foretold latency, each in multiples of 1, 8, 32 or 64
neurons; beside them a uniform half (half the heads and neurons of every layer) and half the layers. All models and the
original are timed in turns in one process, in an order that is drawn anew in each turn; a ratio is the median over
turns of a model's time by the original's in the same turn. Rounds are whole repetitions, from the layer times on, and
what is reported is the median of theirs, with the lowest and highest. score_kept: share of the original's total score
that a plan keeps, which is what it was chosen by. foretold: by the table of that batch size. The last line is one JSON
object, kept in benchmarks/results/latency.json:
batch1, batch32            model -> measured ratio [lowest, median, highest of the rounds], foretold ratio
seconds_table_batch1, _32  what the layer times took to measure
parts_ms_batch1, _32       where the original's time goes: heads, neurons, layers without them, outside the layers
latency_ratio_batch1, _32  measured with half the FLOPs, in multiples of 32 (a latency budget may cut further)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

import asc_core
from asc_core.encoder import Encoder
from asc_core.evaluate.latency import random_texts, texts_of_turns
from asc_core.evaluate.layer_times import layer_times
from asc_core.plan import CostModel, LatencyTable, by_budget
from asc_core.runtimes import session
from asc_core.values import Plan, Scores, Shape
from benchmarks.machine import keep

SHARE = 0.5
WANTED = {1: 0.6, 32: 0.5}  # latency budgets: a tenth below .7 and .6, for what a table foretells wrongly
MULTIPLES = (1, 8, 32, 64)
WARM_UP = 2


def total_score(scores: Scores, plan: Plan) -> float:
    """Of the heads and neurons in layers that run."""
    kept = 0.0
    for values, chosen in ((scores.values.heads, plan.heads), (scores.values.neurons, plan.neurons)):
        assert values is not None
        kept += sum(float(np.maximum(values[layer][list(chosen[layer])], 0).sum()) for layer in plan.layers)
    return kept


def uniform_half(shape: Shape) -> Plan:
    full = Plan.full(shape)
    heads, neurons = (tuple(row[: len(row) // 2] for row in rows) for rows in (full.heads, full.neurons))
    return Plan(shape, heads, neurons, full.layers)


def half_the_layers(shape: Shape) -> Plan:
    full = Plan.full(shape)
    return Plan(shape, full.heads, full.neurons, full.layers[: shape.layers // 2])


def plans_for(scores: Scores, cost_model: CostModel, batch: int) -> dict[str, Plan]:
    """cost_model: with the layer times at that batch size."""
    found = {"uniform half": uniform_half(scores.shape), "half the layers": half_the_layers(scores.shape)}
    for multiple in MULTIPLES:
        found[f"flops, x{multiple}"] = by_budget(scores, cost_model, SHARE, round_to=multiple)
    for multiple in MULTIPLES[:2]:
        shares = {"flops": SHARE, "latency": WANTED[batch]}
        found[f"flops and latency, x{multiple}"] = by_budget(scores, cost_model, shares, round_to=multiple)
    return found


def ratios(encoders: Mapping[str, Encoder], lengths: np.ndarray, batch: int, turns: int, seed: int) -> dict[str, float]:
    """Median over turns of each model's time by that of "original"."""
    names, generator = list(encoders), np.random.default_rng(seed)
    taken: dict[str, list[float]] = {name: [] for name in names}
    sessions = {name: session(encoder) for name, encoder in encoders.items()}
    vocabulary = sessions["original"].vocabulary
    for turn, wanted in enumerate(texts_of_turns(lengths, batch, WARM_UP + turns, seed)):
        texts = random_texts(wanted, vocabulary, seed + turn)
        for number in generator.permutation(len(names)).tolist():
            taken[names[number]].append(sessions[names[number]].seconds(texts))
    original = np.array(taken["original"][WARM_UP:])
    return {name: float(np.median(np.array(taken[name][WARM_UP:]) / original)) for name in names}


def parts_of(shape: Shape, table: LatencyTable) -> dict[str, float]:
    """Milliseconds of the whole encoder."""
    layers = shape.layers
    return {
        "heads": round(layers * table.attention[-1] / 1e6, 3),
        "neurons": round(layers * table.ffn[-1] / 1e6, 3),
        "layers without them": round(layers * table.layer / 1e6, 3),
        "outside the layers": round(table.outside / 1e6, 3),
    }


def one_round(
    encoder: Encoder, scores: Scores, counted: CostModel, batch: int, turns: int, seed: int
) -> dict[str, Any]:
    began = time.perf_counter()
    table = layer_times(encoder, counted.lengths, batch, seed=seed)
    seconds = time.perf_counter() - began
    cost_model = counted.with_latency(table)
    dense = cost_model.dense_total("latency")
    plans = plans_for(scores, cost_model, batch)
    encoders = {"original": encoder, **{name: encoder.cut(plan) for name, plan in plans.items()}}
    whole = total_score(scores, Plan.full(scores.shape))
    measured = ratios(encoders, counted.lengths, batch, turns, seed)
    found = {
        name: {
            "measured": measured[name],
            "foretold": cost_model.total(plan, "latency") / dense,
            "kept_flops": cost_model.total(plan, "flops") / cost_model.dense_total("flops"),
            "score_kept": total_score(scores, plan) / whole,
            "heads": [len(kept) for kept in plan.heads],
            "neurons": [len(kept) for kept in plan.neurons],
        }
        for name, plan in plans.items()
    }
    return {"plans": found, "seconds": seconds, "parts": parts_of(scores.shape, table)}


def together(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all rounds: the ratios as [lowest, median, highest], everything else as the median; widths of the last."""
    found = {}
    for name, last in rounds[-1]["plans"].items():
        of = {key: [one["plans"][name][key] for one in rounds] for key in last}
        found[name] = {
            "measured": [round(f(of["measured"]), 3) for f in (min, median, max)],
            **{key: round(median(of[key]), 4) for key in ("foretold", "kept_flops", "score_kept")},
            "heads": last["heads"],
            "neurons": last["neurons"],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="demo:nli")
    parser.add_argument("--task", default="demo:nli")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, help="default: 60 at batch 1, 12 at batch 32")
    parser.add_argument("--samples", type=int, default=1024, help="calibration examples of the scores")
    parser.add_argument("--study", help="a study whose scores by obs are used instead of new ones")
    options = parser.parse_args()
    encoder, task = asc_core.load_encoder(options.encoder, device="cpu"), asc_core.load_task(options.task)
    stored = asc_core.Study.open(options.study).scores(task.name, "obs", encoder.weights) if options.study else []
    scores = stored[0] if stored else asc_core.score(encoder, task, ["obs"], samples=options.samples)["obs"]
    counted = asc_core.task_cost_model(encoder, task)
    result: dict[str, Any] = {"encoder": encoder.name, "tokens": round(float(counted.lengths.mean()), 1)}
    result["rounds"] = options.rounds
    for batch, turns in ((1, 60), (32, 12)):
        turns = options.turns or turns
        rounds = [one_round(encoder, scores, counted, batch, turns, seed) for seed in range(options.rounds)]
        result[f"batch{batch}"] = together(rounds)
        for name, of in result[f"batch{batch}"].items():
            low, middle, high = of["measured"]
            print(
                f"batch {batch:2} {name:22} {middle:.3f} [{low:.3f}, {high:.3f}] foretold {of['foretold']:.3f}, "
                f"FLOPs {of['kept_flops']:.3f}, score {of['score_kept']:.4f}",
                flush=True,
            )
        result[f"seconds_table_batch{batch}"] = round(median(one["seconds"] for one in rounds), 1)
        result[f"parts_ms_batch{batch}"] = {
            name: round(median(one["parts"][name] for one in rounds), 2) for name in rounds[0]["parts"]
        }
        result[f"latency_ratio_batch{batch}"] = result[f"batch{batch}"]["flops, x32"]["measured"][1]
    keep("latency", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
