"""What the original does on the calibration texts: the targets of every refit, computed once for all plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from asc_core import modeling
from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.probes import Probe, Readout, ReadoutKey
from asc_core.progress import CALIBRATING, Progress
from asc_core.scores.restart import Restartable
from asc_core.scores.sensitivity import random_projection
from asc_core.scores.sweep_pass import frozen
from asc_core.tasks.base import Batch, Task

SAMPLES = 1024
TOKENS = 65536  # of SQuAD's long texts, 16,384 are a hundred: a refit to so few loses half as many points again
MEMORY = 2 << 30  # bytes that the residual sums may take: the sample of a large encoder ends earlier
HELD_OUT = 0.2
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
    sums: dict[ReadoutKey, torch.Tensor]
    weights: dict[ReadoutKey, torch.Tensor]

    @property
    def real(self) -> torch.Tensor:
        """(B, T) bool"""
        return self.batch.mask.bool()


@dataclass(frozen=True)
class Calibration:
    """weights: fingerprint of the original's weights. tokens: of all texts, without padding.

    moments: readout -> (2, columns + 1, columns + 1) sums of [x, 1]^T [x, 1] over the texts that are fitted to and over
    those held out; empty unless asked for.
    Memory: 8 bytes x tokens x hidden size x layers; 1.2 GB for 65,536 tokens at 6 layers of 384.
    """

    texts: tuple[CalibrationBatch, ...]
    weights: str
    task: str
    samples: int
    tokens: int
    seed: int
    moments: Mapping[ReadoutKey, torch.Tensor]


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

    A fifth of the examples, by seed, is held out of every fit. moments: also those of the readouts' inputs, which the
    one-shot refit needs. Raises: UserError (no such split), Cancelled.
    """
    progress = progress or Progress()
    features = task.features(task.examples(split, samples, seed), encoder)
    generator = np.random.default_rng((seed, 5))
    drawn = generator.permutation(len(features.lengths))
    most = min(tokens, MEMORY // (8 * encoder.shape.hidden * max(1, encoder.shape.layers)))
    within = int(np.searchsorted(np.cumsum(features.lengths[drawn]), most, side="right"))
    drawn = np.sort(drawn[: max(min(len(drawn), 8), within)])
    examples = np.unique(features.example[drawn])
    held_out = set(generator.permutation(examples)[: max(1, round(HELD_OUT * len(examples)))].tolist())
    texts: list[CalibrationBatch] = []
    runner, done = Restartable(frozen(encoder)), 0
    norm_first = modeling.architecture_of(encoder.model).norm_first
    sums: dict[ReadoutKey, torch.Tensor] = {}
    for places in batches_by_length(
        features.lengths[drawn], batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
    ):
        progress.step(done, len(drawn), f"calibrating on {task.name}", CALIBRATING)
        rows = drawn[places]
        batch = task.batch(features, rows, encoder)
        probe = OutputGradientNorms(norm_first)
        with torch.enable_grad():
            output, states = runner.record(batch.inputs, probe)
            noise = torch.Generator().manual_seed(int(generator.integers(1 << 62)))
            torch.autograd.grad(random_projection(output, batch.mask, noise), [probe.source])
        apart = torch.tensor([int(e) in held_out for e in features.example[rows]], device=encoder.device)
        apart = apart.repeat_interleave(batch.rows_per_feature)
        sums_here = {place: stream.detach() for place, stream in probe.sums.items()}
        texts.append(CalibrationBatch(batch, apart, states[0].detach(), sums_here, probe.gradients))
        if moments:
            _add_moments(sums, probe.inputs, texts[-1])
        probe.release()
        done += len(rows)
    progress.step(done, len(drawn), f"calibrating on {task.name}", CALIBRATING)
    total = int(features.lengths[drawn].sum())
    return Calibration(_weighted(texts), encoder.weights, task.name, len(examples), total, seed, sums)


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


def _add_moments(
    sums: dict[ReadoutKey, torch.Tensor], inputs: dict[ReadoutKey, torch.Tensor], text: CalibrationBatch
) -> None:
    for place, x in inputs.items():
        if place not in sums:
            sums[place] = x.new_zeros(2, x.shape[-1] + 1, x.shape[-1] + 1)
        for total, chosen in zip(sums[place], (~text.held_out, text.held_out), strict=True):
            tokens = text.real & chosen[:, None]
            rows = x.detach()[tokens]
            a = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
            total.addmm_((a * text.weights[place][tokens, None]).T, a)


class ResidualSums(Probe):
    """sums, inputs: (kind, layer) -> the residual stream after a readout has written, and what the readout read.

    residual: the stream as it is now. until: raise `Reached` instead of running this readout. known: what readouts are
    made to read, whatever reaches them.
    """

    def __init__(
        self, norm_first: bool, until: ReadoutKey | None = None, known: Mapping[ReadoutKey, torch.Tensor] | None = None
    ):
        self.norm_first, self.until, self.known = norm_first, until, known or {}
        self.sums: dict[ReadoutKey, torch.Tensor] = {}
        self.inputs: dict[ReadoutKey, torch.Tensor] = {}
        self.residual: torch.Tensor
        self._at = -1

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        self.residual, self._at = hidden, layer

    def feed(self, inputs: torch.Tensor) -> None:
        if not self.norm_first:
            self.residual = inputs

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        place = (readout.kind, self._at)
        known = self.known.get(place)
        self.inputs[place] = inputs if known is None else known
        if place == self.until:
            raise Reached
        return known

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        self.residual = self.residual + output
        self.sums[readout.kind, self._at] = self.residual

    def release(self) -> None:
        """Let go of what was seen. A graph's hooks refer to the probe: until garbage is collected, the cycle would keep
        a batch's activations, and those of many batches fill the memory."""
        self.sums, self.inputs = {}, {}
        del self.residual


class OutputGradientNorms(ResidualSums):
    """gradients: (kind, layer) -> (B, T) squared norm of the gradient at a readout's output, once it has flown back.

    source: where the graph begins.
    """

    def __init__(self, norm_first: bool):
        super().__init__(norm_first)
        self.gradients: dict[ReadoutKey, torch.Tensor] = {}
        self.source: torch.Tensor

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        super().read(readout, inputs)
        if inputs.requires_grad:
            return None
        self.source = inputs.detach().requires_grad_()
        return self.source

    def release(self) -> None:
        super().release()
        del self.source

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        super().wrote(readout, inputs, output)
        place = (readout.kind, self._at)
        output.register_hook(lambda gradient: self.gradients.__setitem__(place, gradient.detach().square().sum(-1)))


class Reached(Exception):
    """The rest of the pass is not needed."""
