"""An application: an encoder, a task, and what a card says about its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asc_core.tasks import Task

EXAMPLE_CHARACTERS = 150


@dataclass(frozen=True)
class Application:
    """encoder, task: as `load_encoder` and `load_task` take them. name: unique in a study. task_name: the name of its
    task, under which the study keeps results; that of the application where it says nothing else. Two encoders on one
    task are two applications, told apart by name and in the study by the fingerprints of their weights.

    report: for embedded ones the committed measurement on test; None where there is none.
    """

    name: str
    encoder: str
    task: str
    description: str = ""
    embedded: bool = False
    trained: bool = True
    report: dict[str, Any] | None = None
    task_name: str = ""

    def __post_init__(self) -> None:
        if not self.task_name:
            object.__setattr__(self, "task_name", self.name)

    @property
    def title(self) -> str:
        return title_of(self.name)


def title_of(name: str) -> str:
    """An application's name as people read it."""
    return name.removeprefix("demo:")


@dataclass(frozen=True)
class Facts:
    """What a card says about an application's data. sizes: examples of each split."""

    kind: str
    metric: str
    sizes: dict[str, int]
    example: str
    answer: str
    labels: tuple[str, ...]


def describe(task: Task) -> Facts:
    """Reads the task's data: slow the first time."""
    sizes = {split: len(task.examples(split)) for split in task.splits}
    first = task.examples(task.splits[0], limit=1, seed=0).rows[0]
    texts, answer = _shown(first)
    return Facts(
        kind=task.kind,
        metric=task.metric.name,
        sizes=sizes,
        example=_shortened(" · ".join(texts)),
        answer=_shortened(answer),
        labels=task.labels,
    )


def _shown(row: Mapping[str, Any]) -> tuple[list[str], str]:
    """(texts, answer) of one example, whatever its fields are called."""
    texts, answer = [], ""
    for name, value in row.items():
        if name in ("id", "tags"):
            continue
        if name in ("label", "labels", "intent", "answer", "answers") and value is not None:
            found = value.get("text", "") if isinstance(value, Mapping) else value
            answer = ", ".join(map(str, found)) if isinstance(found, list | tuple) else str(found)
        elif isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list | tuple) and value and all(isinstance(word, str) for word in value):
            texts.append(" ".join(value))
    return texts, answer


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= EXAMPLE_CHARACTERS else text[: EXAMPLE_CHARACTERS - 1].rstrip() + "…"
