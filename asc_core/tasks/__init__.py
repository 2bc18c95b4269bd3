"""What an application is: texts, labels, a loss and a metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Batch, Examples, Features, Metric, Targets, Task
from asc_core.tasks.in_memory import ACCEPTED, is_table, task_in_memory
from asc_core.tasks.kinds import task_from_rows
from asc_core.tasks.own_metric import OwnMetric
from asc_core.tasks.presets import PRESETS
from asc_core.tasks.sources.decoding import format_of
from asc_core.tasks.sources.file import READERS
from asc_core.tasks.table_task import TableTask
from asc_core.tasks.task_file import load_task_file, name_in_task_file, task_from_content

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
    "task_name",
]

SCHEMES: dict[str, Callable[[str], Task]] = {}  # "demo" -> the task of a name; who has a scheme registers it here


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a name that is too long for the file system
        return False


def load_task(
    source: Any,
    split_seed: int = 0,
    split: str | None = None,
    *,
    metric: str | OwnMetric | None = None,
    name: str | None = None,
    **fields: Any,
) -> Task:
    """A task from its name, its file, or rows in memory.

    >>> rows = [{"text": "a fine film", "mood": "good"}, {"text": "a bad film", "mood": "bad"}] * 10
    >>> load_task(rows, name="mood")
    Task(mood: text-classification; splits: train, validation)

    Args:
        source: a preset ("glue/mrpc"), a task file ("mytask.toml"), an embedded application ("demo:nli"), or rows: a
            pandas DataFrame, a datasets.Dataset or DatasetDict, a list of dictionaries, or a dictionary of such by
            split. A single table is the train split.
        split_seed: the seed of the validation split, where one is cut from train.
        split: the split that is meant; needed for a task that has a single one.
        metric: another metric than the task's own: one of those there are for rows in memory, or for any task a
            function of gold labels and decisions, see `own_metric.measure_of`.
        name: of a task made of rows, under which a study keeps its results.
        fields: for rows, what a task file would say: kind, texts, label (None: there are no labels), slots, labels,
            slot_labels, positive, max_length, stride, no_answer, answer_tokens, separator, words. What is not given is
            guessed and said in the notes of all that is measured.

    Raises: UserError that names what is wrong with it, or what else is accepted.
    """
    if metric is not None and not isinstance(metric, str) and not callable(metric):
        raise UserError(f"A metric is the name of one, or a function of gold labels and decisions, not {metric!r:.60}.")
    if isinstance(split_seed, bool) or not isinstance(split_seed, int) or split_seed < 0:
        raise UserError(f"split_seed is a whole number from 0 on, not {split_seed!r:.60}.")
    if name is not None and not isinstance(name, str):
        raise UserError(f"A task's name is a text, not {name!r:.60}.")
    if is_table(source):
        named = {**fields, "metric": metric} if isinstance(metric, str) else fields
        task = task_in_memory(source, named, name or "rows", split_seed, split)
    elif isinstance(source, Task):
        raise UserError(f"{source.name} is a task already: use it as it is.")
    elif not isinstance(source, str | Path):
        raise UserError(
            f"A task is a preset, a task file, demo:NAME, or rows: {ACCEPTED}; not {type(source).__name__}."
        )
    else:
        given = [*fields, *(["name"] if name else []), *(["metric"] if isinstance(metric, str) else [])]
        if given:
            raise UserError(
                f"{source} says itself what it is, so {', '.join(given)} cannot be given here: write a file."
            )
        task = _named_task(str(source), split_seed, split)
    if not callable(metric):
        return task
    if not isinstance(task, TableTask):
        raise UserError(f"{task.name} has no examples with a decision each, so no metric can be computed from them.")
    return task.with_metric(metric)


def _named_task(text: str, split_seed: int, split: str | None) -> Task:
    scheme, colon, name = text.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](name)
    if text in PRESETS:
        return task_from_content(PRESETS[text], _name_of_preset(text), text, Path(), split_seed, split)
    if _is_file(text):
        if format_of(Path(text)) in READERS:
            raise UserError(f"{text} is data, not a task file: write one for it with asc task {text}.")
        return load_task_file(text, split_seed, split)
    if text.endswith(".toml"):
        raise UserError(f"There is no task file {text[:200]}.")
    raise UserError(
        f"There is no task {text[:200]!r}: give a task file (.toml), demo:NAME, or one of {', '.join(PRESETS)}."
    )


def task_name(source: str) -> str:
    """The name under which a study keeps what `load_task(source)` measures; the task's data stays unread.

    Raises: UserError as `load_task` does.
    """
    if source in PRESETS:
        return _name_of_preset(source)
    if _is_file(source):
        return name_in_task_file(source)
    return _named_task(source, 0, None).name


def _name_of_preset(preset: str) -> str:
    return preset.replace("/", "-")
