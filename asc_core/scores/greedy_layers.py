"""Greedy layer pruning: drop the layer that is missed least, then look again.

Peer et al. 2022 (Greedy-layer Pruning, arXiv 2105.14839, algorithm 1). They fine-tune before each look and compare the
metric; here nothing is trained and the loss decides, which has no ties on a few hundred examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.scores.ablation import Work, losses_without, parts_of
from asc_core.values import Plan, Provenance

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task


def greedy_layers(
    encoder: Encoder,
    task: Task,
    *,
    split: str = "train",
    samples: int | None = 1024,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[Plan]:
    """The whole encoder, then plans with one layer less each, until one is left.

    Raises: UserError (task without labels, layers that share weights), Cancelled.
    """
    if encoder.shape.shares_weights:
        raise UserError(
            f"The layers of this {encoder.shape.architecture} encoder share weights, so none can be dropped alone."
        )
    progress = progress or Progress()
    plan = Plan.full(encoder.shape, Provenance(weights=encoder.weights, task=task.name, method="greedy-layers"))
    yield plan
    for gone in range(encoder.shape.layers - 1):
        progress.step(gone, encoder.shape.layers - 1, f"dropping layers, {task.name}")
        smaller = encoder.cut(plan)
        work = Work.prepare(smaller, task, ["layers"], split, samples, seed, None)
        losses, windows = losses_without(work, parts_of(smaller.shape, ["layers"]), progress.check)
        without = losses[:, 1:].sum(0) / windows.sum()
        plan = plan.drop(plan.layers[int(np.argmin(without))])
        yield plan
