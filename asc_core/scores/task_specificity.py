"""Which application needs a head more: a permutation test between two tasks.

Scores of two tasks cannot be subtracted: their losses, and mostly their weights, differ in scale. What has no scale is
the *share* of a head in an example: of the squared gate gradients of all heads (per-example Fisher, `fisher`) the part
that falls on it. Each example has such shares, and under the null hypothesis that a head's share is the same in both
tasks, which task an example belongs to says nothing. The sweep keeps sums only and never examples, so this is a small
pass of its own; (examples, heads) numbers are all that it keeps.

The statistic is Welch's t: studentised so, the permutation test is exact where the shares have one distribution in
both tasks, and holds asymptotically for equal means where only these are equal (Janssen 1997, Statistics and
Probability Letters 36, 9-21; Chung and Romano 2013, Annals of Statistics 41, 484-507). Without that it would also
reject for different spreads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.scores.sensitivity import GateGradients
from asc_core.scores.streaming import Statistic, Sums
from asc_core.scores.sweep_pass import SweepPass
from asc_core.tasks.base import Targets, Task

PERMUTATIONS = 9999
FEWEST_EXAMPLES = 8
_AT_ONCE = 1000


class _Heads(Sums):
    """Takes the place of the sweep's sums and keeps squared gate gradients of heads, one row a feature."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[np.ndarray] = []

    def add(self, statistics: Mapping[str, Statistic], units: Mapping[str, np.ndarray], weights: np.ndarray) -> None:
        self.rows.append(statistics["fisher.heads"].values.cpu().numpy().astype(np.float64))


def head_shares(
    encoder: Encoder,
    task: Task,
    *,
    split: str = "train",
    samples: int | None = 256,
    seed: int = 0,
    targets: Targets | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """(examples, all heads) each head's share in an example's squared gate gradients; every row sums to 1.

    An example of several windows counts by their sum. Examples without any gradient say nothing and are left out.
    Arguments and errors: as in `sweep`.
    """
    progress = progress or Progress()
    targets = targets or ("gold" if task.labelled else "sampled")
    work = SweepPass(encoder, task, task.examples(split, samples, seed), [GateGradients], targets, seed)
    total = len(work.features)
    squares = np.zeros((len(work.examples), sum(encoder.shape.heads)))
    done = 0
    for rows in batches_by_length(work.features.lengths, BATCH_TOKENS.get(encoder.device.type, 2048)):
        progress.step(done, total, f"head shares of {task.name}")
        kept = _Heads()
        work.add(rows, kept)
        np.add.at(squares, work.features.example[rows], np.concatenate(kept.rows))
        done += len(rows)
    progress.step(total, total, f"head shares of {task.name}")
    sums = squares.sum(1, keepdims=True)
    said = (sums > 0)[:, 0]
    return squares[said] / sums[said]


@dataclass(frozen=True)
class TaskSpecificity:
    """Of every head (flat, all rows): does task A need it more than task B?

    difference: (heads,) mean share in A minus that in B. p: (heads,) of the permutation test. adjusted: (heads,) p for
    all heads tested together; below 0.05 the head is needed more by A (by B where the difference is negative and the
    test was two-sided). correction: "holm" (family-wise error) or "bh" (false discovery rate).
    """

    difference: np.ndarray
    p: np.ndarray
    adjusted: np.ndarray
    alternative: str
    correction: str
    examples: tuple[int, int]


def permutation_test(
    a: np.ndarray,
    b: np.ndarray,
    *,
    alternative: Literal["greater", "two-sided"] = "greater",
    correction: Literal["holm", "bh"] = "holm",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> TaskSpecificity:
    """a, b: (examples, heads) of `head_shares` on two tasks, for encoders of the same shape.

    greater: A needs the head more; two-sided: either does. p is (1 + permutations as extreme) / (1 + permutations)
    (Phipson and Smyth 2010), so it is never 0; with 72 heads and Holm's correction the smallest adjusted p of 9,999
    permutations is 0.0072. Raises: UserError where the shapes differ or a task has fewer than 8 examples.
    """
    if a.shape[1] != b.shape[1]:
        raise UserError(f"The encoders have {a.shape[1]} and {b.shape[1]} heads: compare encoders of the same shape.")
    if min(len(a), len(b)) < FEWEST_EXAMPLES:
        raise UserError(
            f"There are {len(a)} and {len(b)} examples, too few to permute: take {FEWEST_EXAMPLES} or more of each."
        )
    both = np.concatenate([a, b])
    both = both - both.mean(0)  # the same for the test, and no digits are lost in the variances
    observed = _welch(both, np.arange(len(both))[None, :] < len(a))[0]
    generator = np.random.default_rng((seed, len(a), len(b)))
    reached = np.zeros(a.shape[1], dtype=np.int64)
    for begin in range(0, permutations, _AT_ONCE):
        draws = min(_AT_ONCE, permutations - begin)
        in_a = generator.permuted(np.tile(np.arange(len(both)) < len(a), (draws, 1)), axis=1)
        t = _welch(both, in_a)
        # Rounding must not make a permutation that changes nothing look less extreme.
        slack = 1e-9 * np.maximum(1, np.abs(observed))
        far = t >= observed - slack if alternative == "greater" else np.abs(t) >= np.abs(observed) - slack
        reached += far.sum(0)
    p = (1 + reached) / (1 + permutations)
    adjusted = holm(p) if correction == "holm" else false_discovery_control(p, method="bh")
    return TaskSpecificity(a.mean(0) - b.mean(0), p, np.asarray(adjusted), alternative, correction, (len(a), len(b)))


def _welch(values: np.ndarray, in_a: np.ndarray) -> np.ndarray:
    """values: (n, heads); in_a: (draws, n) bool -> (draws, heads) Welch's t, 0 where nothing varies."""
    squares = np.square(values)

    def mean_and_error(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = int(members[0].sum())
        weights = members.astype(np.float64)
        mean = weights @ values / n
        variance = np.maximum(weights @ squares / n - mean**2, 0) * n / (n - 1)
        return mean, variance / n

    (mean_a, error_a), (mean_b, error_b) = mean_and_error(in_a), mean_and_error(~in_a)
    error = np.sqrt(error_a + error_b)
    return np.divide(mean_a - mean_b, error, out=np.zeros_like(error), where=error > 0)


def holm(p: np.ndarray) -> np.ndarray:
    """(n,) p values -> adjusted for n tests together, by Holm's step-down method (Holm 1979)."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
