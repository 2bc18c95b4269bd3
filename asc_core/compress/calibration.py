"""What the original does on the calibration texts: the targets of every refit, computed once for all plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.probes import Probe, Readout
from asc_core.progress import Progress
from asc_core.scores.grams import Place
from asc_core.scores.restart import Restartable
from asc_core.scores.sweep import BATCH_TOKENS, batches_by_length
from asc_core.tasks.base import Batch, Task

SAMPLES = 1024
TOKENS = 16384
HELD_OUT = 0.2


@dataclass(frozen=True)
class Texts:
    """One batch. held_out: (rows,) bool, the texts that decide which correction is kept and are not fitted to.

    hidden: (B, T, d) what the first layer reads. sums: (kind, layer) -> (B, T, d), the residual stream with what the
    readout has added to it, before any LayerNorm: what a refit is to bring back.
    """

    batch: Batch
    held_out: torch.Tensor
    hidden: torch.Tensor
    sums: dict[Place, torch.Tensor]

    @property
    def real(self) -> torch.Tensor:
        """(B, T) bool"""
        return self.batch.mask.bool()


@dataclass(frozen=True)
class Calibration:
    """weights: fingerprint of the original's weights. tokens: of all texts, without padding.

    moments: readout -> (2, columns + 1, columns + 1) sums of [x, 1]^T [x, 1] over the texts that are fitted to and over
    those held out; empty unless asked for.
    Memory: 8 bytes x tokens x hidden size x layers; 300 MB for 16,384 tokens of a BERT-like encoder of 6 layers.
    """

    texts: tuple[Texts, ...]
    weights: str
    task: str
    samples: int
    tokens: int
    seed: int
    moments: Mapping[Place, torch.Tensor]


@torch.no_grad()
def calibrate(
    encoder: Encoder,
    task: Task,
    *,
    samples: int | None = SAMPLES,
    tokens: int = TOKENS,
    seed: int = 0,
    split: str = "train",
    moments: bool = False,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """One pass of the original over a sample of a split; of long texts only so many as make `tokens` in all.

    A fifth of the examples, by seed, is held out of every fit. moments: also those of the readouts' inputs, which the
    one-shot refit needs. Raises: UserError (no such split), Cancelled.
    """
    progress = progress or Progress()
    features = task.features(task.examples(split, samples, seed), encoder)
    generator = np.random.default_rng((seed, 5))
    drawn = generator.permutation(len(features.lengths))
    within = int(np.searchsorted(np.cumsum(features.lengths[drawn]), tokens, side="right"))
    drawn = np.sort(drawn[: max(min(len(drawn), 8), within)])
    examples = np.unique(features.example[drawn])
    held_out = set(generator.permutation(examples)[: max(1, round(HELD_OUT * len(examples)))].tolist())
    runner, texts, done = Restartable(encoder), [], 0
    sums: dict[Place, torch.Tensor] = {}
    for places in batches_by_length(
        features.lengths[drawn], batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
    ):
        progress.step(done, len(drawn), f"calibrating on {task.name}")
        rows = drawn[places]
        batch = task.batch(features, rows, encoder)
        probe = ResidualSums(modeling.architecture_of(encoder.model).norm_first)
        hidden = runner.record(batch.inputs, probe)[1][0]
        apart = torch.tensor([int(e) in held_out for e in features.example[rows]], device=encoder.device)
        texts.append(Texts(batch, apart.repeat_interleave(batch.rows_per_feature), hidden, probe.sums))
        if moments:
            _add_moments(sums, probe.inputs, texts[-1])
        done += len(rows)
    progress.step(done, len(drawn), f"calibrating on {task.name}")
    total = int(features.lengths[drawn].sum())
    return Calibration(tuple(texts), encoder.weights, task.name, len(examples), total, seed, sums)


def _add_moments(sums: dict[Place, torch.Tensor], inputs: dict[Place, torch.Tensor], text: Texts) -> None:
    for place, x in inputs.items():
        if place not in sums:
            sums[place] = x.new_zeros(2, x.shape[-1] + 1, x.shape[-1] + 1)
        for total, chosen in zip(sums[place], (~text.held_out, text.held_out), strict=True):
            rows = x[text.real & chosen[:, None]]
            a = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
            total.addmm_(a.T, a)


class ResidualSums(Probe):
    """sums, inputs: (kind, layer) -> the residual stream after a readout has written, and what the readout read.

    residual: the stream as it is now. until: raise `Reached` instead of running this readout.
    """

    def __init__(self, norm_first: bool, until: Place | None = None):
        self.norm_first, self.until = norm_first, until
        self.sums: dict[Place, torch.Tensor] = {}
        self.inputs: dict[Place, torch.Tensor] = {}
        self.residual: torch.Tensor
        self._at = -1

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        self.residual, self._at = hidden, layer

    def feed(self, inputs: torch.Tensor) -> None:
        if not self.norm_first:
            self.residual = inputs

    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        place = (readout.kind, self._at)
        self.inputs[place] = inputs
        if place == self.until:
            raise Reached

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        self.residual = self.residual + output
        self.sums[readout.kind, self._at] = self.residual


class Reached(Exception):
    """The rest of the pass is not needed."""
