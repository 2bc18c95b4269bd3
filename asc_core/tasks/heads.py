"""Whether a model's head is the one that a task needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task


def head_fits(encoder: Encoder, task: Task) -> bool:
    """By the kind of head and the names of its classes, in any order."""
    if encoder.head != task.head:
        return False
    if task.kind == "regression":
        return len(encoder.labels) == 1
    slots = getattr(encoder.model.config, "slot_id2label", None) or {}
    return _same(task.labels, encoder.labels) and _same(task.slot_labels, list(slots.values()))


def _same(wanted: Sequence[str], there: Sequence[str]) -> bool:
    return not wanted or set(wanted) == set(there)
