"""Which applications a study is about: the embedded ones and those that the user has added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asc_core.errors import UserError
from asc_core.study import Study
from asc_core.tasks import Task

SETTING = "applications"
EXAMPLE_CHARACTERS = 150


@dataclass(frozen=True)
class Application:
    """encoder, task: as `load_encoder` and `load_task` take them. name: unique in a study, the name of its task.

    report: for embedded ones the committed measurement on test; None where there is none.
    """

    name: str
    encoder: str
    task: str
    description: str = ""
    embedded: bool = False
    trained: bool = True
    report: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        return self.name.removeprefix("demo:")


@dataclass(frozen=True)
class Facts:
    """What a card says about an application's data. sizes: examples of each split."""

    kind: str
    metric: str
    sizes: dict[str, int]
    example: str
    answer: str
    labels: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "labels": list(self.labels)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Facts:
        return Facts(**{**data, "labels": tuple(data["labels"])})


def applications_of(study: Study) -> list[Application]:
    """The embedded ones first, then the user's in the order of adding. Raises: UserError if the list is damaged."""
    return [*_embedded(), *_added(study)]


def add(study: Study, encoder: str, task: str, name: str) -> Application:
    """Remember an application whose encoder and task have been loaded and fit together."""
    added = _added(study)
    if any(name == other.name for other in [*_embedded(), *added]):
        raise UserError(f"There is already an application {name} in this study; give the task file another name.")
    application = Application(name, encoder, task)
    study.set(SETTING, [_to_json(one) for one in [*added, application]])
    return application


def remove(study: Study, name: str) -> None:
    """Forget a user's application; its scores and evaluations stay in the study."""
    study.set(SETTING, [_to_json(one) for one in _added(study) if one.name != name])


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


def _embedded() -> list[Application]:
    from asc_core.demo import applications

    return [
        Application(
            name=f"demo:{one.name}",
            encoder=f"demo:{one.name}",
            task=f"demo:{one.name}",
            description=one.description,
            embedded=True,
            trained=one.report is not None,
            report=one.report,
        )
        for one in applications()
    ]


def _added(study: Study) -> list[Application]:
    stored = study.get(SETTING, [])
    try:
        return [Application(str(one["name"]), str(one["encoder"]), str(one["task"])) for one in stored]
    except (TypeError, KeyError):
        raise UserError(
            f"The list of applications in {study.path} is damaged; add the applications again in another study."
        ) from None


def _to_json(application: Application) -> dict[str, str]:
    return {"name": application.name, "encoder": application.encoder, "task": application.task}
