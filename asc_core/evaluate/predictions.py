"""A task's predictions for features, in batches of like length, surviving a shortage of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from asc_core.batches import BatchLimits, by_length
from asc_core.encoder import Encoder
from asc_core.evaluate.fast_forward import FastForward
from asc_core.evaluate.throughput import BatchSizeTuner, batch_limits_of, throughput_of
from asc_core.memory import Halving
from asc_core.probes import between_layers
from asc_core.progress import Progress
from asc_core.tasks.base import Features, Reader, Task


def predict(
    encoder: Reader,
    task: Task,
    features: Features,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
    forward: Callable[[dict[str, torch.Tensor]], Any] | None = None,
) -> list[Any]:
    """One prediction a feature, in the features' order.

    limits: of a batch; by default the size that was measured to be the fastest here, which is found out on the first
    occasion. forward: gives the model's output; by default an encoder runs as `FastForward`, any other reader as it is.
    A batch that does not fit into memory is halved, and so is every later one of that size.
    Raises: Cancelled between two layers; UserError where a single feature does not fit into memory.
    """
    progress = progress or Progress()
    predictions: list[Any] = [None] * len(features)
    tuner = None
    if limits is None and isinstance(encoder, Encoder) and throughput_of(encoder) is None:
        tuner = BatchSizeTuner(encoder, features.lengths)
        tuner = tuner if tuner.worthwhile else None
    chosen = tuner.batches() if tuner else by_length(features.lengths, limits or batch_limits_of(encoder))
    run = forward or runner(encoder)
    halving = Halving(encoder.device, features.lengths)
    done = 0

    def predicted(rows: np.ndarray) -> Sequence[Any]:
        progress.step(done, len(features), "features evaluated")
        with tuner.timing(rows) if tuner else nullcontext():
            batch = task.batch(features, rows, encoder)
            return task.predict(run(batch.inputs), batch)

    with torch.inference_mode(), between_layers(progress.check):
        for batch in chosen:
            for rows, found in halving.run(batch, predicted):
                for row, prediction in zip(rows, found, strict=True):
                    predictions[row] = prediction
                done += len(rows)
    progress.step(done, len(features), "features evaluated")
    if tuner:
        tuner.remember_best()
    return predictions


def runner(reader: Reader) -> Callable[[dict[str, torch.Tensor]], Any]:
    return FastForward(reader) if isinstance(reader, Encoder) else reader.forward
