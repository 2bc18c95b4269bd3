"""What the sweep costs, in forward passes: time and memory against a bare forward over the same batches.

Everything is timed in one run, in turns, and reported as the median of the ratios of neighbouring turns, so that a
busy machine disturbs both sides alike. The last line is one JSON object:
representation_ratio  all methods without labels (layers and sublayers on all tokens, heads and neurons on a sample)
all_ratio             all of one loss, with per-example gradients
further_loss_ratio    what each further loss adds
attention_ratio       methods that read attention probabilities, alone
memory_ratio_4096_to_64  peak memory of a whole process that sweeps 4,096 examples, to one that sweeps 64
ablation_speedup      72 forwards to exact ablation of all heads; more in benchmarks/ablation.py
textpruner_*          with --textpruner: see benchmarks/against_textpruner/compare.py
The result is kept in benchmarks/results/sweep.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.demo.encoder import encoder_folder
from asc_core.encoder import Encoder
from asc_core.loading import load_encoder
from asc_core.scores import METHODS, Method, sweep
from asc_core.scores.attention import Attention
from asc_core.scores.collector import Collector
from asc_core.scores.method import Collected
from asc_core.scores.sensitivity import SampledGateGradients
from asc_core.scores.streaming import Sums
from asc_core.scores.sweep_pass import SweepPass
from asc_core.tasks import Task, load_task
from benchmarks import ablation
from benchmarks.against_textpruner.compare import compare
from benchmarks.machine import keep


def set_up() -> tuple[Encoder, Task]:
    """The demo's encoder with an untrained head: what is computed does not depend on what was learnt."""
    task = load_task("demo:nli")
    return load_encoder(encoder_folder(), head=task.head, labels=task.labels), task


def seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.inference_mode()
def forward(encoder: Encoder, inputs: dict[str, torch.Tensor]) -> None:
    encoder.model(**inputs)


def collectors_of(methods: list[Method]) -> list[type[Collector]]:
    return list(dict.fromkeys(m.collector for m in methods if isinstance(m, Collected)))


def time_ratios(encoder: Encoder, task: Task, examples: int, turns: int) -> dict[str, float]:
    sample = task.examples("train", examples, 0)
    usual = [m for m in METHODS.values() if m.asked == "by default"]
    of: dict[str, list[type[Collector]]] = {
        "representation_ratio": collectors_of([m for m in usual if m.labels == "none"]),
        "all_ratio": collectors_of(usual),
        "further_loss_ratio": [*collectors_of(usual), SampledGateGradients],
        "attention_ratio": [Attention],
    }
    passes = {name: SweepPass(encoder, task, sample, made, "gold", seed=0) for name, made in of.items()}
    features = passes["all_ratio"].features
    groups = batches_by_length(features.lengths, BATCH_TOKENS[encoder.device.type])
    inputs = [task.batch(features, rows, encoder).inputs for rows in groups]
    print(
        f"{examples} examples, {len(groups)} batches, {features.lengths.mean():.1f} tokens a text; "
        f"{encoder.device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    sums = {name: Sums() for name in of}

    def work(name: str, group: Any) -> Callable[[], object]:
        return partial(passes[name].add, group, sums[name])

    forwards: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in of}
    for _ in range(turns):
        took, took_bare = dict.fromkeys(of, 0.0), dict.fromkeys(of, 0.0)
        for group, one in zip(groups, inputs, strict=True):
            bare = partial(forward, encoder, one)
            for name in of:  # each twice, the second one timed: the first pays for what other work has left in memory
                work(name, group)()
                took[name] += seconds(work(name, group), encoder.device)
                bare()
                forwards.append(seconds(bare, encoder.device))
                took_bare[name] += forwards[-1]
        for name in of:
            ratios[name].append(took[name] / took_bare[name])
    print(f"bare forward {1000 * median(forwards):.1f} ms a batch")
    found = {name: median(values) for name, values in ratios.items()}
    for name, values in ratios.items():
        print(f"{name} {median(values):.3f}, from {min(values):.3f} to {max(values):.3f}")
    found["further_loss_ratio"] -= found["all_ratio"]
    return {name: round(value, 3) for name, value in found.items()}


def peak_of_this_process() -> int:
    """Bytes. (On Linux `getrusage` would begin with the peak of the process that started this one.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_memory(examples: int) -> float:
    """Bytes that a process of its own held at most while it swept so many examples with all methods."""
    command = [sys.executable, "-m", "benchmarks.sweep", "--peak", str(examples)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=256, help="for the ratios of time")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true", help="leave out the peaks of memory (some minutes)")
    parser.add_argument("--no-ablation", action="store_true", help="leave out exact ablation (some minutes)")
    parser.add_argument("--textpruner", action="store_true", help="compare with the package (installs it in build/)")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    encoder, task = set_up()
    if arguments.peak:
        sweep(encoder, task, samples=arguments.peak)
        print(peak_of_this_process())
        return
    result: dict[str, Any] = time_ratios(encoder, task, arguments.examples, arguments.turns)
    if not arguments.no_memory:
        few, many = peak_memory(64), peak_memory(4096)
        print(f"peak memory {few / 2**20:.0f} MiB for 64 examples, {many / 2**20:.0f} MiB for 4,096")
        result["memory_ratio_4096_to_64"] = round(many / few, 3)
    if not arguments.no_ablation:
        with torch.inference_mode():
            found = ablation.measure(encoder, task, arguments.examples, 2, BATCH_TOKENS["cpu"], all_tokens=False)
        result["ablation_speedup"] = round(found["speedup"]["median"], 3)  # type: ignore[index]
    if arguments.textpruner:
        result |= compare(encoder, task, arguments.examples, arguments.turns)
    keep("sweep", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
