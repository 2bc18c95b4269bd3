"""Exact ablation of all heads against the obvious way: one gated forward pass of the whole encoder for each head.

    python -m benchmarks.ablation [CHECKPOINT TASK.toml] [--samples 256] [--rounds 3]

Both run over the same batches of the same texts in one process: a round takes every batch each way, one right after
the other and in changing order, so that whatever else the machine does falls on both. A round's speed-up
is the ratio of its times; the figures are the median over the rounds and their range. Measured twice: as a user gets
it (a head on [CLS] lets the last layer be computed for one token) and with all tokens in every layer, as a tagging or
question answering head needs it. Also checks that both ways give the same losses. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.gates import gated
from asc_core.loading import load_encoder
from asc_core.scores.ablated_forward import AblatedForward
from asc_core.scores.ablation import parts_of
from asc_core.tasks import load_task
from asc_core.tasks.base import Features, Task
from asc_core.values import Plan
from benchmarks.machine import keep


def forwards(encoder: Encoder, task: Task, features: Features, rows: np.ndarray) -> np.ndarray:
    """(heads, rows) losses, one pass of the whole gated encoder for each head."""
    full = Plan.full(encoder.shape)
    batch = task.batch(features, rows, encoder)
    losses = []
    for row, heads in enumerate(encoder.shape.heads):
        for head in range(heads):
            with gated(encoder, full.drop(row, head=head)):
                losses.append(task.loss(encoder.model(**batch.inputs), batch))
    return torch.stack(losses).cpu().numpy()


def restarts(runner: AblatedForward, task: Task, rows: np.ndarray, all_tokens: bool) -> np.ndarray:
    """(heads, rows) the same, as `ablate` does it, dense pass included."""
    position = {int(row): i for i, row in enumerate(rows)}
    losses = np.zeros((len(runner.parts), len(rows)))
    _, _, states = runner.dense(rows)
    if all_tokens:
        runner.first_token_only = False
    for group in runner.run(rows, states):
        columns = [position[int(row)] for row in group.features]
        loss = task.loss(group.output, group.batch).cpu().numpy().reshape(len(group.parts), -1)
        losses[group.parts.start : group.parts.stop, columns] = loss
    return losses


def timed(work: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """(seconds by the clock, seconds of this process on any core, result)"""
    clock, process = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - clock, time.process_time() - process, result


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def measure(
    encoder: Encoder, task: Task, samples: int, rounds: int, batch_tokens: int, all_tokens: bool
) -> dict[str, object]:
    features = task.features(task.examples("train", samples, seed=0), encoder)
    batches = batches_by_length(features.lengths, batch_tokens)
    runner = AblatedForward(encoder, task, features, parts_of(encoder.shape, ("heads",)), batch_tokens)
    restarts(runner, task, batches[-1], all_tokens)  # warms both up, and finds out what the head reads
    forwards(encoder, task, features, batches[-1][:1])
    times: dict[str, list[float]] = {"forwards": [], "restarts": [], "forwards_process": [], "restarts_process": []}
    difference = 0.0
    for turn in range(rounds):
        totals = dict.fromkeys(times, 0.0)
        for i, rows in enumerate(batches):
            ways: list[tuple[str, Callable[[], np.ndarray]]] = [
                ("forwards", lambda rows=rows: forwards(encoder, task, features, rows)),  # type: ignore[misc]
                ("restarts", lambda rows=rows: restarts(runner, task, rows, all_tokens)),  # type: ignore[misc]
            ]
            losses = {}
            for name, work in ways if (turn + i) % 2 == 0 else reversed(ways):
                clock, process, losses[name] = timed(work)
                totals[name] += clock
                totals[f"{name}_process"] += process
            difference = max(difference, float(np.abs(losses["forwards"] - losses["restarts"]).max()))
        for name, total in totals.items():
            times[name].append(total)
        print(f"  round {turn + 1}: {totals['forwards']:.1f} s against {totals['restarts']:.1f} s", flush=True)
    return {
        "speedup": spread([a / b for a, b in zip(times["forwards"], times["restarts"], strict=True)]),
        "speedup_process_time": spread(
            [a / b for a, b in zip(times["forwards_process"], times["restarts_process"], strict=True)]
        ),
        "seconds_forwards": spread(times["forwards"]),
        "seconds_restarts": spread(times["restarts"]),
        "largest_difference_of_losses": difference,
        "first_token_only": bool(runner.first_token_only),
        "batches": len(batches),
        "tokens": int(features.lengths.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", default="demo:nli")
    parser.add_argument("task", nargs="?", default="demo:nli")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS["cpu"])
    options = parser.parse_args()
    encoder, task = load_encoder(options.checkpoint, device="cpu"), load_task(options.task)
    results = {}
    with torch.inference_mode():
        for name, all_tokens in (("sequence classification", False), ("all tokens", True)):
            print(f"{name}: {sum(encoder.shape.heads)} heads, {options.samples} examples of {task.name}", flush=True)
            results[name] = measure(encoder, task, options.samples, options.rounds, options.batch_tokens, all_tokens)
    settings = {"samples": options.samples, "batch_tokens": options.batch_tokens, "rounds": options.rounds}
    keep("ablation", {"encoder": encoder.name, "task": task.name, **settings, "results": results})
    line = {
        "ablation_speedup": results["sequence classification"]["speedup"]["median"],  # type: ignore[index]
        "ablation_speedup_all_tokens": results["all tokens"]["speedup"]["median"],  # type: ignore[index]
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
