"""What the original does on the calibration texts: the targets of every refit, computed once for all plans.

The texts come in slices, each about as long as all before it, in an order drawn by seed: whoever cannot wait uses those
that are there. What a text contributes depends on nothing beside it, so that fewer tokens are the first ones of more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from asc_core import modeling
from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.compress.half_precision import InHalfPrecision
from asc_core.compress.moments import Moments, MomentSums
from asc_core.compress.residual_sums import OutputGradientNorms
from asc_core.compress.solutions import solution_of
from asc_core.encoder import Encoder
from asc_core.probes import ReadoutKey
from asc_core.progress import CALIBRATING, Progress
from asc_core.scores.restart import Restartable
from asc_core.scores.sensitivity import random_projection
from asc_core.scores.sweep_pass import frozen
from asc_core.tasks.base import Batch, Task

SAMPLES = 1024
TOKENS = 65536  # of SQuAD's long texts, 16,384 are a hundred: a refit to so few loses half as many points again
FIRST_TOKENS = 2048  # of the first slice
MEMORY = 1 << 30  # bytes that the residual sums may take: the sample of a large encoder ends earlier
MOMENTS_MEMORY = 512 << 20  # bytes that second moments may take where they are kept for speed alone
HELD_OUT_EVERY = 5  # example
GRADIENT_SHARE = 0.9  # with obs.GRADIENT_WEIGHT by benchmarks/results/token_weights.json
"""How much of a token's weight goes by the outputs' gradient at the readout there; the rest is alike for all. What
only [CLS] reads at the end should not be spoiled for [CLS], but tokens with small gradients still feed layers above."""


@dataclass(frozen=True)
class CalibrationBatch:
    """One batch. held_out: (rows,) bool, the texts that decide which correction is kept and are not fitted to.

    hidden: (B, T, d) what the first layer reads. sums: (kind, layer) -> (B, T, d), the residual stream with what the
    readout has added to it, before any LayerNorm: what a refit is to bring back. weights: (kind, layer) -> (B, T), how
    much a token's error there counts, 1 on average and 0 at padding.
    """

    batch: Batch
    held_out: torch.Tensor
    hidden: torch.Tensor
    sums: InHalfPrecision
    weights: dict[ReadoutKey, torch.Tensor]

    @property
    def real(self) -> torch.Tensor:
        """(B, T) bool"""
        return self.batch.mask.bool()


@dataclass(frozen=True)
class Calibration:
    """weights: fingerprint of the original's weights. samples, tokens: of all texts, without padding.

    moments: of the readouts' inputs; None unless asked for. slices: how many of the batches make the first slice, the
    first two, and so on to all. Memory: 4 bytes x tokens x hidden size x layers; 0.6 GB for 65,536 tokens at 6 layers
    of 384.
    """

    texts: tuple[CalibrationBatch, ...]
    weights: str
    task: str
    samples: int
    tokens: int
    seed: int
    moments: Moments | None
    slices: tuple[int, ...]

    @property
    def bytes(self) -> int:
        states = sum(text.hidden.nbytes + text.sums.nbytes for text in self.texts)
        return states + (self.moments.bytes if self.moments is not None else 0)


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
    """One pass, forward and back, of the original over a sample of a split; of long texts as many as make `tokens`.

    However many are asked for, no more tokens are taken than `MEMORY` holds (29,127 at 12 layers of 768).

    Every fifth example, in an order drawn by seed, is held out of every fit. moments: also those of the readouts'
    inputs, which the one-shot refit needs. Raises: UserError (no such split), Cancelled.
    """
    growing = GrowingCalibration(
        encoder,
        task,
        samples=samples,
        tokens=tokens,
        seed=seed,
        split=split,
        moments=moments,
        batch_tokens=batch_tokens,
    )
    while not growing.complete:
        growing.grow(progress)
    assert growing.latest is not None
    return growing.latest


def moments_fit(encoder: Encoder) -> bool:
    """Whether second moments of all its readouts' inputs are small enough to be kept for speed alone."""
    return sum(2 * 4 * (readout.columns + 1) ** 2 for readout in encoder.readouts) <= MOMENTS_MEMORY


class GrowingCalibration:
    """A calibration that can be used while it is made: its first slice, the first two, and so on.

    latest: of the slices that are there. For one thread at a time; whoever is cancelled leaves what was done, and the
    next one goes on. Arguments and errors as for `calibrate`.
    """

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        samples: int | None = SAMPLES,
        tokens: int = TOKENS,
        seed: int = 0,
        split: str = "train",
        moments: bool = False,
        batch_tokens: int | None = None,
    ):
        self.latest: Calibration | None = None
        self.complete = False
        self._encoder, self._task, self._seed = encoder, task, seed
        self._features = task.features(task.examples(split, samples, seed), encoder)
        lengths = self._features.lengths
        drawn = np.random.default_rng((seed, 5)).permutation(len(lengths))
        most = min(tokens, MEMORY // (4 * encoder.shape.hidden * max(1, encoder.shape.layers)))
        ends = slice_ends(lengths[drawn], most)
        size = batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
        self._drawn, self._slices = drawn[: ends[-1]], [0]
        self._waiting: list[np.ndarray] = []
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            part = drawn[begin:end]
            self._waiting += [part[places] for places in batches_by_length(lengths[part], size)]
            self._slices.append(len(self._waiting))
        examples = self._features.example[self._drawn]
        first = np.sort(np.unique(examples, return_index=True)[1])
        self._held_out = set(examples[first][HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY].tolist() or examples[:1].tolist())
        self._texts: list[CalibrationBatch] = []
        self._moments = MomentSums() if moments else None
        self._runner = Restartable(frozen(encoder))
        self._norm_first = modeling.architecture_of(encoder.model).norm_first

    def grow(self, progress: Progress | None = None) -> Calibration:
        """The next slice. Raises: Cancelled, within one batch; what was done stays."""
        progress, what = progress or Progress(), f"calibrating on {self._task.name}"
        before = len(self.latest.texts) if self.latest is not None else 0
        end = next(end for end in self._slices if end > before)  # its batches may be there: who made them was cancelled
        while len(self._texts) < end:
            done = len(self._texts)
            progress.step(sum(map(len, self._waiting[:done])), len(self._drawn), what, CALIBRATING)
            self._texts.append(self._observed(self._waiting[done]))
        rows = np.concatenate(self._waiting[:end])
        progress.step(len(rows), len(self._drawn), what, CALIBRATING)
        self.complete = end == len(self._waiting)
        self.latest = Calibration(
            texts=_weighted(self._texts),
            weights=self._encoder.weights,
            task=self._task.name,
            samples=len(np.unique(self._features.example[rows])),
            tokens=int(self._features.lengths[rows].sum()),
            seed=self._seed,
            moments=self._moments_now(),
            slices=tuple(count for count in self._slices if 0 < count <= end),
        )
        return self.latest

    def _observed(self, rows: np.ndarray) -> CalibrationBatch:
        encoder = self._encoder
        batch = self._task.batch(self._features, rows, encoder)
        probe, noise = (
            OutputGradientNorms(self._norm_first),
            RowNoise(self._seed, rows.tolist(), batch.rows_per_feature),
        )
        with torch.enable_grad():
            output, states = self._runner.record(batch.inputs, probe)
            torch.autograd.grad(random_projection(output, batch.mask, noise), [probe.source])
        apart = torch.tensor(
            [int(e) in self._held_out for e in self._features.example[rows]], device=encoder.device
        ).repeat_interleave(batch.rows_per_feature)
        sums = InHalfPrecision({place: stream.detach() for place, stream in probe.sums.items()})
        text = CalibrationBatch(batch, apart, states[0].detach(), sums, probe.gradients)
        if self._moments is not None:
            _add_moments(self._moments, probe.inputs, text)
        probe.release()
        return text

    def _moments_now(self) -> Moments | None:
        if self._moments is None:
            return None
        return self._moments.snapshot({(r.kind, r.row): solution_of(r.linear) for r in self._encoder.readouts})


class RowNoise:
    """Standard normal numbers for a batch's outputs that are each row's own, whatever stands beside it in the batch."""

    def __init__(self, seed: int, features: Sequence[int], rows_per_feature: int):
        self._rows = [(seed, 5, int(feature), row) for feature in features for row in range(rows_per_feature)]

    def __call__(self, number: int, shape: torch.Size) -> torch.Tensor:
        """number: of the output. shape: (rows, ...)."""
        own = (np.random.default_rng((*row, number)).standard_normal(shape[1:], np.float32) for row in self._rows)
        return torch.from_numpy(np.stack(list(own)))


def slice_ends(lengths: np.ndarray, tokens: int) -> list[int]:
    """How many features make the first slice, the first two, ... all within `tokens`; 8 at least, if there are."""
    total = np.cumsum(lengths)
    least = min(len(lengths), 8)
    most = max(least, int(np.searchsorted(total, tokens, side="right")))
    ends, size = [], FIRST_TOKENS
    while size < tokens and size < total[most - 1]:
        ends.append(max(least, int(np.searchsorted(total, size, side="right"))))
        size *= 2
    return sorted({*(end for end in ends if end < most), most})


def _weighted(texts: list[CalibrationBatch]) -> tuple[CalibrationBatch, ...]:
    """With the gradients' norms turned into weights, over all texts."""
    tokens = sum(float(text.real.sum()) for text in texts)
    means = {
        place: sum(float((text.weights[place] * text.real).sum()) for text in texts) / tokens
        for place in texts[0].weights
    }

    def weights(text: CalibrationBatch, place: ReadoutKey) -> torch.Tensor:
        norms, mean = text.weights[place], means[place]
        relative = norms / mean if mean > 0 else torch.ones_like(norms)
        return ((1 - GRADIENT_SHARE) + GRADIENT_SHARE * relative) * text.real

    return tuple(replace(text, weights={place: weights(text, place) for place in means}) for text in texts)


def _add_moments(sums: MomentSums, inputs: dict[ReadoutKey, torch.Tensor], text: CalibrationBatch) -> None:
    for place, x in inputs.items():
        for part, chosen in enumerate((~text.held_out, text.held_out)):
            tokens = text.real & chosen[:, None]
            sums.add(place, part, x.detach()[tokens], text.weights[place][tokens])
