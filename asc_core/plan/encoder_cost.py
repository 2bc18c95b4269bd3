"""The cost model of a real encoder on a real task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asc_core.modeling import PACKINGS, every_token_passes
from asc_core.plan.cost import CostModel
from asc_core.values import Cost

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task

TEXTS_FOR_LENGTHS = 1024


def cost_model(encoder: Encoder, lengths: np.ndarray) -> CostModel:
    """What every part costs on texts of these lengths, (texts,) tokens without padding."""
    other = () if every_token_passes(encoder.model.config) else map(np.asarray, encoder.layer_lengths(lengths))
    return CostModel(
        shape=encoder.shape,
        counts=encoder.part_counts,
        lengths=lengths,
        bytes_per_parameter=PACKINGS[encoder.packing].dtype.itemsize,
        layer_lengths=tuple(other),
    )


def task_lengths(encoder: Encoder, task: Task) -> np.ndarray:
    """(texts,), tokens of up to 1,024 texts of the task's training split (its first split, where there is none).

    Always the same texts, so that what a model costs is one number, whichever split it is evaluated on.
    """
    split = task.training_split
    examples = task.examples(split, limit=TEXTS_FOR_LENGTHS, seed=0)
    return task.features(examples, encoder).lengths


def task_cost_model(encoder: Encoder, task: Task) -> CostModel:
    """What every part costs at the task's lengths."""
    return cost_model(encoder, task_lengths(encoder, task))


def task_cost(encoder: Encoder, task: Task) -> Cost:
    """What a model costs as it stands, at the task's lengths."""
    return encoder.cost(task_lengths(encoder, task))
