"""A task on a model, as the engine runs it but without its speed."""

from typing import Any

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.tasks import Batch, Examples, Features, Targets, Task


def output_of(encoder: Encoder, batch: Batch) -> Any:
    with torch.inference_mode():
        return encoder.model(**batch.inputs)


def predictions(task: Task, features: Features, encoder: Encoder, size: int = 8) -> list[Any]:
    """One for each feature, from batches of features of about the same length."""
    found: list[Any] = [None] * len(features)
    order = np.argsort(features.lengths, kind="stable")
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        batch = task.batch(features, rows, encoder)
        for row, prediction in zip(rows, task.predict(output_of(encoder, batch), batch), strict=True):
            found[row] = prediction
    return found


def losses(
    task: Task, features: Features, encoder: Encoder, rows: list[int], targets: Targets = "gold", seed: int = 0
) -> np.ndarray:
    batch = task.batch(features, rows, encoder)
    generator = torch.Generator().manual_seed(seed)
    return task.loss(output_of(encoder, batch), batch, targets, generator).numpy()


def run(task: Task, encoder: Encoder, split: str = "test", reference: Encoder | None = None) -> tuple[Examples, float]:
    examples = task.examples(split)
    features = task.features(examples, encoder)
    original = predictions(task, features, reference) if reference else None
    statistics = task.statistics(predictions(task, features, encoder), features, examples, original)
    assert statistics.shape == (len(examples), len(task.metric.columns))
    assert statistics.dtype == np.float64
    return examples, task.metric.value(statistics)
