"""The embedded applications as tasks of the engine."""

from __future__ import annotations

from functools import partial

from asc_core.demo.facts import SPLITS
from asc_core.demo.generator import APPLICATIONS, application_rows
from asc_core.errors import UserError
from asc_core.tasks.base import Task
from asc_core.tasks.kinds import task_from_rows

_LABELS = {"pair-classification": "label", "text-classification": "label", "intent-slots": "intent"}


def demo_task(name: str) -> Task:
    """The task `demo:NAME`, with splits train, validation, test and shifted. Raises: UserError for an unknown name."""
    if name not in APPLICATIONS:
        raise UserError(f"There is no demo task {name!r}; there are {', '.join(APPLICATIONS)}.")
    application = APPLICATIONS[name]
    fields = {"texts": list(application.fields)}
    if application.kind in _LABELS:
        fields["label"] = _LABELS[application.kind]  # type: ignore[assignment]
    return task_from_rows(
        f"demo:{name}",
        application.kind,
        fields,
        {split: partial(application_rows, name, split) for split in SPLITS},
        labels=application.labels or None,
        slot_labels=application.tags or None,
        max_length=application.max_length,
    )
