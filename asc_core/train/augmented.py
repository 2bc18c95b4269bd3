"""Distillation on more texts than the task has: those of a file, without labels.

Each step adds as many of them as its batch has examples. They are drawn by the step's own random numbers, so that a run
that was killed goes on with the same ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.tasks.base import Batch, Task
from asc_core.tasks.text_file import content_of, examples_in
from asc_core.tasks.texts import unlabelled
from asc_core.train.distil import Teaching, Terms


class AugmentedTeaching(Teaching):
    """The mean of what a teacher shows on the task's batch and on texts of a file; labels count on the first alone.

    Raises: UserError as `Teaching` and `examples_in` do.
    """

    def __init__(self, teacher: Encoder, student: Encoder, task: Task, terms: Terms, texts: str | Path):
        super().__init__(teacher, student, task, terms)
        self.blind = unlabelled(task)
        self.features = self.blind.features(examples_in(task, texts), student)
        self.content = content_of(texts)

    @property
    def further_texts(self) -> bool:
        return True

    def identity(self) -> Any:
        return [*super().identity(), "texts", self.content]

    def loss(self, encoder: Encoder, task: Task, batch: Batch, rows: np.ndarray | None = None) -> torch.Tensor:
        count = len(batch.mask) // batch.rows_per_feature
        drawn = torch.randint(len(self.features), (count,)).numpy()
        more = self.blind.batch(self.features, drawn, encoder)
        return (super().loss(encoder, task, batch, rows) + super().loss(encoder, self.blind, more)) / 2
