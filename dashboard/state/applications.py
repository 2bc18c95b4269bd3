"""Which applications a study is about: the embedded ones and those that the user has added."""

from __future__ import annotations

from asc_core.errors import UserError
from asc_core.study import Study
from dashboard.state import kept
from dashboard.state.application import Application


def applications_of(study: Study) -> list[Application]:
    """The embedded ones first, then the user's in the order of adding. Raises: UserError if the list is damaged."""
    return [*_embedded(), *kept.added(study)]


def add(study: Study, encoder: str, task: str, name: str) -> Application:
    """Remember an application whose encoder and task have been loaded and fit together."""
    added = kept.added(study)
    if any(name == other.name for other in [*_embedded(), *added]):
        raise UserError(f"There is already an application {name} in this study; give the task file another name.")
    application = Application(name, encoder, task)
    kept.keep_added(study, [*added, application])
    return application


def remove(study: Study, name: str) -> None:
    """Forget a user's application; its scores and evaluations stay in the study."""
    kept.keep_added(study, [one for one in kept.added(study) if one.name != name])


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
