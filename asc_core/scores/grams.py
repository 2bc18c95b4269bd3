"""Gram matrices of the readouts' inputs: what the refit of kept columns needs to know of the data.

With the inputs of a readout over n tokens as A = [x, 1], (n, columns + 1), the least-squares correction for removed
columns follows from A^T A alone. All tokens would cost more than a forward pass, so a sample of them is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.progress import Progress
from asc_core.scores.collector import Collector
from asc_core.scores.streaming import Statistic
from asc_core.scores.sweep_pass import SweepPass

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.probes import Readout
    from asc_core.scores.collector import BatchView, ReadoutWeights
    from asc_core.tasks.base import Task

Place = tuple[str, int]  # kind and row of a readout
ROWS_A_PRODUCT = 2048
BLOCKS = 4  # of columns: a product is symmetric, and its upper blocks are 5/8 of it


class SampledInputs(Collector):
    """rows: readout -> (tokens, columns + 1) [x, 1] of the sampled tokens, each times the root of its weight.

    Each sampled token stands for as many as its text has for each sampled one, so that long texts count as they should.
    """

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.rows: dict[Place, list[torch.Tensor]] = {}

    @torch.no_grad()
    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        sampled = self.view.sampled(inputs.detach()).flatten(0, 1)
        ones = sampled.new_ones(len(sampled), 1)
        weighted = torch.cat([sampled, ones], 1) * self.view.sample_weight.sqrt().view(-1, 1)
        self.rows.setdefault((readout.kind, readout.row), []).append(weighted)

    def statistics(self) -> dict[str, Statistic]:
        return {}


class GramSums:
    """Sums of a^T a over rows a, one product for many batches: a matrix is much larger than a batch's sampled rows.

    Only blocks on and above the diagonal are multiplied and added; the rest is their mirror image.
    """

    def __init__(self) -> None:
        self._waiting: dict[Place, list[torch.Tensor]] = {}
        self._sums: dict[Place, torch.Tensor] = {}

    def add(self, rows: Mapping[Place, list[torch.Tensor]]) -> None:
        for place, found in rows.items():
            waiting = self._waiting.setdefault(place, [])
            waiting += found
            if sum(map(len, waiting)) >= ROWS_A_PRODUCT:
                self._multiply(place)

    def totals(self) -> dict[Place, np.ndarray]:
        """(columns + 1, columns + 1) each, float64."""
        for place in self._waiting:
            self._multiply(place)
        return {place: (total.triu() + total.triu(1).T).numpy() for place, total in self._sums.items()}

    def _multiply(self, place: Place) -> None:
        if self._waiting[place]:
            a = torch.cat(self._waiting[place])
            width = a.shape[1]
            sums = self._sums.setdefault(place, torch.zeros(width, width, dtype=torch.float64))
            step = -(-width // BLOCKS)
            for start in range(0, width, step):
                rows = slice(start, start + step)
                sums[rows, start:] += (a[:, rows].T @ a[:, start:]).cpu()
            self._waiting[place] = []


@dataclass(frozen=True)
class Grams:
    """matrices: (kind, row) of a readout -> (columns + 1, columns + 1) mean over tokens of [x, 1]^T [x, 1], float64.

    The last row holds the means of the inputs. weights: fingerprint of the encoder's weights. tokens: how many were
    looked at.
    """

    matrices: Mapping[Place, np.ndarray]
    weights: str
    task: str
    split: str
    tokens: int

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Flat names ("attention.0") to arrays: the form on disk."""
        return {f"{kind}.{row}": matrix for (kind, row), matrix in self.matrices.items()}


def grams(
    encoder: Encoder,
    task: Task,
    *,
    split: str = "train",
    samples: int | None = 1024,
    tokens: int = 4096,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> Grams:
    """Gram matrices of every readout's inputs, from one forward pass over a sample of a split.

    tokens: about how many are looked at, spread over all texts (at least 2 of each). Where layers share weights, a
    row's matrix is over all of its calls. Memory grows with the widths of the encoder and not with the data.
    Raises: UserError, Cancelled.
    """
    progress = progress or Progress()
    work = SweepPass(encoder, task, task.examples(split, samples, seed), [SampledInputs], "argmax", seed)
    lengths = work.features.lengths
    work.token_share = min(1.0, tokens / max(1, int(lengths.sum())))
    batches = batches_by_length(lengths, batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048))
    sums, done = GramSums(), 0
    for batch in batches:
        progress.step(done, len(lengths), f"Gram matrices of {task.name}")
        add_inputs(work, batch, sums)
        done += len(batch)
    progress.step(done, len(lengths), f"Gram matrices of {task.name}")
    matrices = {place: total / total[-1, -1] for place, total in sums.totals().items()}
    looked_at = int(np.minimum(lengths, np.maximum(2, np.ceil(work.token_share * lengths))).sum())
    return Grams(matrices, encoder.weights, task.name, split, looked_at)


def add_inputs(work: SweepPass, rows: np.ndarray, sums: GramSums) -> None:
    """One batch of features, into the sums."""
    (collector,) = work.observe(rows)[1]
    assert isinstance(collector, SampledInputs)
    sums.add(collector.rows)
