"""What an application is: texts, labels, a loss and a metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.base import Batch, Examples, Features, Metric, Targets, Task
from asc_core.tasks.kinds import task_from_rows
from asc_core.tasks.presets import PRESETS
from asc_core.tasks.task_file import load_task_file, task_from_content

__all__ = [
    "PRESETS",
    "SCHEMES",
    "Batch",
    "Examples",
    "Features",
    "Metric",
    "Targets",
    "Task",
    "load_task",
    "task_from_rows",
]

SCHEMES: dict[str, Callable[[str], Task]] = {}  # "demo" -> the task of a name; who has a scheme registers it here


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a name that is too long for the file system
        return False


def load_task(source: str | Path, split_seed: int = 0, split: str | None = None) -> Task:
    """A preset ("glue/mrpc"), a task file ("mytask.toml"), or an embedded application ("demo:nli").

    split_seed: the seed of the validation split, where one is cut from train. split: the split that is meant; needed
    for a task that has a single one.
    Raises: UserError that names what is wrong with it.
    """
    text = str(source)
    scheme, colon, name = text.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](name)
    if text in PRESETS:
        return task_from_content(PRESETS[text], text.replace("/", "-"), text, Path(), split_seed, split)
    if _is_file(text):
        return load_task_file(text, split_seed, split)
    if text.endswith(".toml"):
        raise UserError(f"There is no task file {text[:200]}.")
    raise UserError(
        f"There is no task {text[:200]!r}: give a task file (.toml), demo:NAME, or one of {', '.join(PRESETS)}."
    )
