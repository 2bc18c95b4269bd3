"""The cost model of a real encoder on a real task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asc_core.plan.cost import CostModel

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task

TEXTS_FOR_LENGTHS = 1024


def cost_model(encoder: Encoder, lengths: np.ndarray) -> CostModel:
    """What every part costs on texts of these lengths, (texts,) tokens without padding."""
    sizes = encoder.part_sizes
    return CostModel(
        shape=encoder.shape,
        static_parameters=sizes.outside_layers,
        parameters_per_head=sizes.per_head,
        parameters_per_neuron=sizes.per_neuron,
        parameters_per_layer_fixed=sizes.per_layer_fixed,
        lengths=lengths,
        gated=sizes.gated,
        window=sizes.window,
        relative_span=sizes.relative_span,
    )


def task_cost_model(encoder: Encoder, task: Task) -> CostModel:
    """At the lengths of up to 1,024 texts of the task's training split (its first split, where there is none).

    Always the same texts, so that a plan's cost is one number, whichever split it is evaluated on.
    """
    split = "train" if "train" in task.splits else task.splits[0]
    examples = task.examples(split, limit=TEXTS_FOR_LENGTHS, seed=0)
    return cost_model(encoder, task.features(examples, encoder).lengths)
