"""Batches of an application's texts for statistics of gradients: drawn by a seed, as many as make so many tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.compress.calibration import RowNoise
from asc_core.encoder import Encoder
from asc_core.progress import CALIBRATING, Progress
from asc_core.tasks.base import Batch, Task


def drawn_batches(
    encoder: Encoder, task: Task, *, samples: int, tokens: int, seed: int, progress: Progress, what: str
) -> Iterator[tuple[Batch, RowNoise]]:
    """(batch, noise for `random_projection` that is the same whatever it is batched with) of training texts, or those
    of the task's first split.

    samples: examples at most, of long texts as many as make `tokens`, and one at least. what: is done, for `progress`.
    Raises: UserError (no such texts), Cancelled.
    """
    features = task.features(task.examples(task.training_split, samples, seed), encoder)
    drawn = np.random.default_rng((seed, 7)).permutation(len(features))
    drawn = drawn[: max(1, int(np.searchsorted(np.cumsum(features.lengths[drawn]), tokens, side="right")))]
    done = 0
    for places in batches_by_length(features.lengths[drawn], BATCH_TOKENS.get(encoder.device.type, 2048)):
        rows = drawn[places]
        progress.step(done, len(drawn), what, CALIBRATING)
        batch = task.batch(features, rows, encoder)
        yield batch, RowNoise(seed, rows.tolist(), batch.rows_per_feature)
        done += len(rows)
    progress.step(len(drawn), len(drawn), what, CALIBRATING)
