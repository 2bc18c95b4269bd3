"""How many calibration texts a method needs: points lost against their number, and each at its authors' own.

    python -m benchmarks.sample_sizes                            all that is missing, 3 seeds; goes on after a kill
    python -m benchmarks.sample_sizes minilm-sick --part curve --texts 64 --texts 128 --seed 0 --method kprune
    python -m benchmarks.sample_sizes --collect                  the report of all that was measured so far

`benchmarks.quality` gives every method 1,024 texts, which are fewer than the authors of the two strongest published
methods took: here is K-prune at their 100,000 tokens and Kwon at their 2,048 texts, ours at the same beside each, and
the curve of all three from 64 to 8,192 texts at half of the FLOPs. (The other published methods are used by their
authors on all data that there is, or name no number.) A curve ends where the training split does, or where a
calibration would take more than `calibration.MEMORY`; a sample of one seed contains that seed's smaller ones. All else
is as in `benchmarks.quality`; outcomes by example lie and are packed with its own, and a point at 1,024 texts is that
table's. The last line is one JSON object, kept in benchmarks/results/sample_sizes.json where nothing was left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from asc_core.compress.calibration import MEMORY, TOKENS
from benchmarks.machine import keep
from benchmarks.outcomes import difference_interval, outcomes, pack, statistics, unpack
from benchmarks.quality import FULL_SEEDS, OURS, OUTCOMES, SAMPLES, STRONGEST, SUBSET, SUBSET_KEPT, WORK, Checkpoint
from benchmarks.trust import CHECKPOINTS

TEXTS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
CURVE_KEPT = 0.5
AUTHORS_TOKENS = 100_000  # of K-prune
AUTHORS_TEXTS = 2048  # of Kwon
ALL = 1 << 20  # tokens: no limit but memory's
COUNTED = 2000  # texts whose mean length stands for that of all


@dataclass(frozen=True)
class Point:
    """One place of the tables: methods at one budget on one number of calibration texts, at most `tokens` of them.

    part: curve or authors.
    """

    part: str
    checkpoint: str
    kept: float
    texts: int
    tokens: int
    methods: tuple[str, ...]

    def of_seed(self, seed: int) -> Checkpoint:
        return Checkpoint(self.checkpoint, seed, self.texts, self.tokens)


def points(names: Sequence[str]) -> Iterator[Point]:
    """Of each part those that are cheap first."""
    for name in names:
        yield from curve(name)
    for name in names:
        yield from authors(name)


def curve(name: str) -> Iterator[Point]:
    encoder = Checkpoint(name, 0).encoder
    held = MEMORY // (8 * encoder.shape.hidden * encoder.shape.layers) / mean_length(name)
    for texts in TEXTS:
        if texts <= min(held, training_texts(name)):
            tokens = TOKENS if texts <= SAMPLES else ALL
            yield Point("curve", name, CURVE_KEPT, texts, tokens, (OURS, *STRONGEST))


def authors(name: str) -> Iterator[Point]:
    """K-prune's and Kwon's own sample sizes, as far as the training split reaches, and ours at the same."""
    for kept in SUBSET_KEPT:
        yield Point("authors", name, kept, min(AUTHORS_TEXTS, training_texts(name)), ALL, (OURS, "kwon"))
    texts = min(round(AUTHORS_TOKENS / mean_length(name)), training_texts(name))
    for kept in SUBSET_KEPT:
        yield Point("authors", name, kept, texts, AUTHORS_TOKENS, (OURS, "kprune"))


@cache
def mean_length(name: str) -> float:
    """Tokens of a training text."""
    one = Checkpoint(name, 0)
    examples = one.task.examples("train", COUNTED, 0)
    return float(one.task.features(examples, one.encoder).lengths.sum()) / len(examples)


@cache
def training_texts(name: str) -> int:
    return len(Checkpoint(name, 0).task.examples("train"))


def cell(point: Point) -> dict[str, Any] | None:
    """Points lost by each method, of as many seeds as there are outcomes; None where ours or all others are missing.

    by_seed: of each one. interval: of the loss. ahead: the paired interval of ours minus the other.
    """
    whole = point.of_seed(0)
    dense = statistics(
        outcomes(Checkpoint(point.checkpoint, 0).file("dense", None), lambda: [whole.encoder], whole.task)
    )
    by_method: dict[str, list[np.ndarray]] = {}
    for method in point.methods:
        found = [point.of_seed(seed).measured(method, point.kept, anew=False) for seed in range(FULL_SEEDS)]
        by_method[method] = [statistics(measured) for measured in found if measured]
    means = {method: np.mean(seeds, axis=0) for method, seeds in by_method.items() if seeds}
    if OURS not in means or len(means) < 2:
        return None
    value = whole.task.metric.value

    def lost(outcome: np.ndarray) -> float:
        return round(100 * (value(dense) - value(outcome)), 2)

    def ends(first: np.ndarray, second: np.ndarray) -> list[float]:
        return [round(100 * end, 2) for end in difference_interval(first, second, whole.task)]

    return {
        "part": point.part,
        "checkpoint": point.checkpoint,
        "kept": point.kept,
        "texts": point.texts,
        "tokens": point.tokens if point.tokens == AUTHORS_TOKENS else None,
        "lost": {method: lost(mean) for method, mean in means.items()},
        "by_seed": {method: [lost(seed) for seed in by_method[method]] for method in means},
        "interval": {method: ends(dense, mean) for method, mean in means.items()},
        "ahead": {method: ends(mean, means[OURS]) for method, mean in means.items() if method != OURS},
        "seeds": {method: len(by_method[method]) for method in means},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", choices=[*CHECKPOINTS, []], help=f"default: {', '.join(SUBSET)}")
    parser.add_argument("--part", choices=("curve", "authors"))
    parser.add_argument("--texts", type=int, action="append", choices=TEXTS, help="of the curve; may be repeated")
    parser.add_argument("--kept", type=float, action="append", choices=SUBSET_KEPT, help="may be repeated")
    parser.add_argument("--seed", type=int, action="append", choices=range(FULL_SEEDS), help="may be repeated")
    parser.add_argument("--method", action="append", choices=(OURS, *STRONGEST), help="may be repeated")
    parser.add_argument("--collect", action="store_true", help="compute nothing: report what was measured")
    options = parser.parse_args()
    unpack(OUTCOMES, WORK)
    asked = [
        point
        for point in points(options.checkpoints or SUBSET)
        if options.part in (None, point.part)
        and (point.part == "authors" or not options.texts or point.texts in options.texts)
        and (not options.kept or point.kept in options.kept)
    ]
    if not options.collect:
        for seed in options.seed or range(FULL_SEEDS):
            measure(asked, seed, options.method or (OURS, *STRONGEST))
    result = {"cells": [made for point in asked if (made := cell(point))]}
    if not (options.checkpoints or options.part or options.texts or options.kept or options.seed or options.method):
        keep("sample_sizes", result)
        pack(WORK, OUTCOMES)
    print(json.dumps(result))


def measure(asked: Sequence[Point], seed: int, methods: Sequence[str]) -> None:
    """One sample of texts after the other, so that only one calibration is in memory."""
    for texts, tokens, name in dict.fromkeys((point.texts, point.tokens, point.checkpoint) for point in asked):
        one = Checkpoint(name, seed, texts, tokens)
        for point in asked:
            if (point.texts, point.tokens, point.checkpoint) == (texts, tokens, name):
                for method in point.methods:
                    if method in methods:
                        one.measured(method, point.kept, anew=True)


if __name__ == "__main__":
    main()
