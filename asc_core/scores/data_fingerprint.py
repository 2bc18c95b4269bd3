"""Whether scores are still those of an application's texts: a file may have been corrected under its old name."""

from __future__ import annotations

from asc_core.tasks.base import Task
from asc_core.values import Scores


def data_fingerprint(task: Task, split: str, samples: int | None, seed: int) -> str:
    """What `Scores.texts` says: how many texts were asked for, and their fingerprint."""
    return f"{'all' if samples is None else samples}:{task.digest(split, samples, seed)}"


def is_current(scores: Scores, task: Task) -> bool:
    """Whether the task's file holds the texts that scores were made from; True where the scores do not say.

    Raises: UserError where the split cannot be read.
    """
    asked, _, digest = scores.texts.partition(":")
    if not digest:
        return True
    if scores.split not in task.splits:
        return False
    return digest == task.digest(scores.split, None if asked == "all" else int(asked), scores.seed)
