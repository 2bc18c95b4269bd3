"""A task's predictions for features, in batches of like length, surviving a shortage of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.batches import BatchLimits, by_length
from asc_core.evaluate.fast_forward import FastForward
from asc_core.evaluate.throughput import BatchSizeTuner, batch_limits_of, throughput_of
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
    waiting = chosen[::-1]
    forward = forward or runner(encoder)
    fits = float("inf")  # tokens
    done = 0
    with torch.inference_mode(), between_layers(progress.check):
        while waiting:
            progress.step(done, len(features), "features evaluated")
            rows = waiting.pop()
            tokens = len(rows) * int(features.lengths[rows].max())
            if tokens > fits and len(rows) > 1:
                waiting += _halves(rows)
                continue
            try:
                with tuner.timing(rows) if tuner else nullcontext():
                    batch = task.batch(features, rows, encoder)
                    found = task.predict(forward(batch.inputs), batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                found = None
            if found is None:  # outside the handler, whose traceback would keep the batch's tensors alive
                _release(encoder.device)
                if len(rows) == 1:
                    raise UserError(
                        f"Memory is too short for one text of {tokens} tokens on {encoder.device}: set a smaller "
                        "max_length in the task file, or use another device (`--device cpu`)."
                    )
                fits = tokens / 2
                waiting += _halves(rows)
                continue
            for row, prediction in zip(rows, found, strict=True):
                predictions[row] = prediction
            done += len(rows)
    progress.step(done, len(features), "features evaluated")
    if tuner:
        tuner.remember_best()
    return predictions


def runner(reader: Reader) -> Callable[[dict[str, torch.Tensor]], Any]:
    return FastForward(reader) if isinstance(reader, Encoder) else reader.forward


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA has a class of its own for it; the CPU's allocator and MPS say it in words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def _halves(rows: np.ndarray) -> Iterator[np.ndarray]:
    middle = len(rows) // 2
    yield rows[middle:]
    yield rows[:middle]


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
