"""Whether a model's head is the one that a task needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asc_core.errors import UserError

if TYPE_CHECKING:
    from asc_core.tasks.base import Reader, Task


def head_fits(reader: Reader, task: Task) -> bool:
    """By the kind of head and the names of its classes, in any order."""
    if reader.head != task.head:
        return False
    if task.kind == "regression":
        return len(reader.labels) == 1
    return _same(task.labels, reader.labels) and _same(task.slot_labels, reader.slot_labels)


def can_answer(reader: Reader, task: Task) -> bool:
    """Also by trying an example: classes may go by position, or by what the task file declares."""
    if reader.head != task.head or (task.kind == "regression" and len(reader.labels) != 1):
        return False
    if head_fits(reader, task):
        return True
    try:
        task.features(task.examples(task.splits[0], limit=1, seed=0), reader)
    except UserError:
        return False
    return True


def _same(wanted: Sequence[str], there: Sequence[str]) -> bool:
    return not wanted or set(wanted) == set(there)
