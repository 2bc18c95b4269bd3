"""Which applications a study is about: the embedded ones and those that the user has added."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from asc_core.errors import UserError
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.state import kept
from dashboard.state.application import Application, title_of


def applications_of(study: Study) -> list[Application]:
    """The embedded ones first, then the user's in the order of adding. Raises: UserError if the list is damaged."""
    return [*_embedded(), *kept.added(study)]


def add(study: Study, encoder: str, task: str, name: str) -> Application:
    """Remember an application whose encoder and task have been loaded and fit together.

    name: of the task. A second encoder on it makes a second application, whose name says which encoder it is about.
    Raises: UserError where just this encoder is there on this task already, or another task has its name.
    """
    application: list[Application] = []

    def with_it(added: list[Application]) -> list[Application]:
        application.append(_new([*_embedded(), *added], encoder, task, name))
        return [*added, *application]

    kept.change_added(study, with_it)
    return application[0]


def _new(known: Sequence[Application], encoder: str, task: str, name: str) -> Application:
    other = next((one for one in known if one.task_name == name and _place(one.task) != _place(task)), None)
    if other is not None:
        raise UserError(
            f"There is already a task {name} in this study, from {other.task}: give the task file another name, or a "
            'line name = "..." in it.'
        )
    same = next((one for one in known if (one.encoder, one.task_name) == (encoder, name)), None)
    if same is not None:
        raise UserError(f"This study has {encoder} on {name} already: it is the application {same.name}.")
    taken = {one.title for one in known}
    beside = [one.encoder for one in known if one.task_name == name]
    own = name if title_of(name) not in taken else _with_encoder(name, encoder, beside, taken)
    return Application(own, encoder, task, task_name=name)


def _with_encoder(name: str, encoder: str, others: Sequence[str], taken: Collection[str]) -> str:
    """The task's name and as many of the last parts of the encoder's as tell it from all others."""
    parts = _parts(encoder)
    for count in range(1, len(parts) + 1):
        own = f"{name} · {'/'.join(parts[-count:])}"
        if title_of(own) not in taken and all(_parts(other)[-count:] != parts[-count:] for other in others):
            return own
    number = next(n for n in itertools.count(2) if title_of(f"{name} · {encoder} ({n})") not in taken)
    return f"{name} · {encoder} ({number})".replace("|", "_")


def _place(task: str) -> str:
    """A task file by its full path: the same however it is written."""
    return str(Path(task).resolve()) if Path(task).is_file() else task


def _parts(encoder: str) -> list[str]:
    return [part.replace("|", "_") for part in re.split(r"[\\/:]", encoder) if part not in ("", ".", "..")] or ["it"]


def of_plan(study: Study, applications: Sequence[Application], plan: Plan | None, task: str) -> Application | None:
    """The application of a name; of several encoders on a task of this name the one that a plan was made for."""
    made_for = plan.provenance.weights if plan is not None else None
    alike = [one for one in applications if task in (one.name, one.task_name)]
    exact = [one for one in alike if made_for is not None and kept.weights(study, one).get() == made_for]
    named = [one for one in alike if one.name == task]
    return next(iter([*exact, *named, *alike]), None)


def remove(study: Study, name: str) -> None:
    """Forget a user's application; its scores and evaluations stay in the study."""
    kept.change_added(study, lambda added: [one for one in added if one.name != name])


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
