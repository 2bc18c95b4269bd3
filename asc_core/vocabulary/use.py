"""How often each token stands in an application's texts."""

from __future__ import annotations

import numpy as np

from asc_core.evaluate.features import tokenised
from asc_core.tasks.base import Reader, Task


def token_counts(reader: Reader, task: Task, split: str | None = None) -> np.ndarray:
    """(rows,) int64, how often each row of the word embedding is looked up by a split's texts as the model reads them.

    split: by default the one that models are made by: train, or the first where there is none. Windows of one text
    that overlap count what they share in each of them; what a text loses to the length limit does not count.
    Raises: UserError as the task's `examples` and `features` do.
    """
    _, features = tokenised(reader, task, split or task.training_split)
    ids = np.concatenate([np.zeros(0, np.int64), *features.input_ids]).astype(np.int64)
    return np.bincount(ids, minlength=reader.tokens)
