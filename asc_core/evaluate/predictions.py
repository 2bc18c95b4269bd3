"""A task's predictions for features, in batches of like length, surviving a shortage of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from asc_core.batches import BatchLimits, by_length
from asc_core.encoder import Encoder
from asc_core.evaluate.lean import Lean
from asc_core.evaluate.pace import Exploration, limits_of, pace_of
from asc_core.memory import Halving
from asc_core.probes import between_layers
from asc_core.progress import Progress
from asc_core.tasks.base import Features, Task


def predict(
    encoder: Encoder,
    task: Task,
    features: Features,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
    run: Callable[[dict[str, torch.Tensor]], Any] | None = None,
) -> list[Any]:
    """One prediction a feature, in the features' order.

    limits: of a batch; by default the size that was measured to be the fastest here, which is found out on the first
    occasion. run: gives the model's output, `Lean` by default.
    A batch that does not fit into memory is halved, and so is every later one of that size.
    Raises: Cancelled between two layers; UserError where a single feature does not fit into memory.
    """
    progress = progress or Progress()
    predictions: list[Any] = [None] * len(features)
    exploration = None
    if limits is None and pace_of(encoder) is None:
        exploration = Exploration(encoder, features.lengths)
        exploration = exploration if exploration.worthwhile else None
    chosen = exploration.batches() if exploration else by_length(features.lengths, limits or limits_of(encoder))
    run = run or Lean(encoder)
    halving = Halving(encoder.device, features.lengths)
    done = 0

    def predicted(rows: np.ndarray) -> Sequence[Any]:
        progress.step(done, len(features), "features evaluated")
        with exploration.timing(rows) if exploration else nullcontext():
            batch = task.batch(features, rows, encoder)
            return task.predict(run(batch.inputs), batch)

    with torch.inference_mode(), between_layers(progress.check):
        for batch in chosen:
            for rows, found in halving.run(batch, predicted):
                for row, prediction in zip(rows, found, strict=True):
                    predictions[row] = prediction
                done += len(rows)
    progress.step(done, len(features), "features evaluated")
    if exploration:
        exploration.conclude()
    return predictions
