"""Which features go through the model together.

Padding is wasted work and so is calling the model for a handful of tokens. Sorted by length, the best way to cut the
features into batches is a shortest path, and cheap to find exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

# Of a scoring pass at a time; its backward pass keeps what an evaluation does not.
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384, "mps": 4096}


@dataclass(frozen=True)
class BatchLimits:
    """rows, tokens: of one batch at most, padding counted. overhead: what a call of the model costs, in tokens."""

    rows: int
    tokens: int
    overhead: int

    @staticmethod
    def of_device(device: torch.device) -> BatchLimits:
        """Starting points. On a CPU a call costs about what ten tokens cost, on a GPU what hundreds do."""
        return BatchLimits(64, 4096, 12) if device.type == "cpu" else BatchLimits(512, 65536, 384)


def by_length(lengths: np.ndarray, limits: BatchLimits) -> list[np.ndarray]:
    """Batches of features of like length, longest first, at the least total of padded tokens and overhead.

    lengths: (n,) tokens of each feature. Returns index arrays that hold each of 0 ... n - 1 once. A feature that is
    longer than `limits.tokens` gets a batch of its own. The longest come first, so that memory is short at once or
    never.
    """
    order = np.argsort(lengths, kind="stable")
    ascending = np.maximum(np.asarray(lengths, dtype=np.int64)[order], 1)
    n = len(order)
    cost = np.zeros(n + 1)
    start = np.zeros(n + 1, dtype=np.int64)
    for end in range(1, n + 1):
        longest = ascending[end - 1]
        rows = int(max(1, min(limits.rows, limits.tokens // longest, end)))
        begins = np.arange(end - rows, end)
        totals = cost[begins] + (end - begins) * longest
        best = int(totals.argmin())
        start[end] = begins[best]
        cost[end] = totals[best] + limits.overhead
    batches, end = [], n
    while end > 0:
        batches.append(order[start[end] : end])
        end = int(start[end])
    return batches


def batches_by_length(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Indices of features of like length, at most `tokens` a batch with padding (but at least one), longest first."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches, start = [], 0
    while start < len(order):
        rows = max(1, tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def shuffled_by_length(lengths: np.ndarray, rows: int, seed: tuple[int, ...]) -> list[np.ndarray]:
    """Batches for one epoch of training: random, yet of like length.

    Features are shuffled, sorted by length within chunks of 50 batches, cut into batches of `rows`, and the batches
    shuffled. seed: numbers such as (seed, epoch).
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    chunk = rows * 50
    batches: list[np.ndarray] = []
    for begin in range(0, len(order), chunk):
        part = order[begin : begin + chunk]
        part = part[np.argsort(np.asarray(lengths)[part], kind="stable")]
        batches += [part[i : i + rows] for i in range(0, len(part), rows)]
    return [batches[i] for i in generator.permutation(len(batches))]
