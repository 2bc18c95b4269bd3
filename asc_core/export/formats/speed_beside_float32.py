"""Is a graph in int8 faster than the same in float32, on this machine? Measured, as it often is not."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import numpy as np

SHAPES = ((1, 24), (1, 128))  # texts, tokens
SECONDS = 1.0  # for each shape, both graphs together
LEAST_ROUNDS, MOST_ROUNDS = 3, 40

Run = Callable[[dict[str, np.ndarray]], Any]


def said_of_speed(integers: Run, floats: Run, runtime: str, tokens: int, longest: int) -> str:
    """A sentence for card and report.

    integers, floats: run a model on inputs by name (ids, mask, types), on one thread. runtime: its package. tokens:
    that the model has embeddings for. longest: text that it takes.
    """
    said, slower = [], False
    for texts, length in sorted({(texts, min(length, longest)) for texts, length in SHAPES}):
        times = _in_turns({"integers": integers, "floats": floats}, texts, length, tokens)
        ours, theirs = times["integers"], times["floats"]
        slower = slower or ours > theirs
        said.append(f"{texts} x {length} tokens {1e3 * ours:.1f} ms against {1e3 * theirs:.1f} ({theirs / ours:.2f}x)")
    verdict = "It is slower than float32 on this machine" if slower else "It is faster than float32 on this machine"
    return (
        f"{verdict}: {', '.join(said)}, medians in turns on one thread of {runtime} {metadata.version(runtime)}, "
        f"{os.cpu_count()} processors in the machine."
    )


def _in_turns(models: Mapping[str, Run], texts: int, length: int, tokens: int) -> dict[str, float]:
    """Seconds of each, the median of rounds in which each has its turn; the first is for warming up."""
    ids = np.random.default_rng(0).integers(0, tokens, (texts, length))
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    times: dict[str, list[float]] = {name: [] for name in models}
    began = time.perf_counter()
    for done in range(MOST_ROUNDS + 1):
        for name, run in models.items():
            start = time.perf_counter()
            run(given)
            times[name].append(time.perf_counter() - start)
        if done >= LEAST_ROUNDS and time.perf_counter() - began > SECONDS:
            break
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}
