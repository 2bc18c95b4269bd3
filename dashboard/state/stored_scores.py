"""The newest scores of a study, by method and application; each read from disk once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asc_core.study import Study
from asc_core.values import Scores
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.state.loaded import LoadedModels
from dashboard.text.method_names import in_order

Entry = Mapping[str, Any]


def entries_of(study: Study, index: Sequence[Entry], application: Application) -> list[Entry]:
    """Of a study's index those of an application: of its task, and of its own weights where these are known.

    Where they are not, since its encoder was never loaded here, those of no other encoder on the task.
    """
    mine = [entry for entry in index if entry["task"] == application.task_name]
    own = kept.weights(study, application).get() if mine else None
    if own is not None:
        return [entry for entry in mine if entry["weights"] == own]
    alike = [one for one in applications_of(study) if mine and one.task_name == application.task_name]
    foreign = {kept.weights(study, one).get() for one in alike if one.encoder != application.encoder}
    return [entry for entry in mine if entry["weights"] not in foreign]


def newest(entries: Sequence[Entry]) -> dict[str, Entry]:
    """method -> its newest entry, of an application's entries, newest first."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry["method"], entry)
    return found


def scored(study: Study, applications: Sequence[Application]) -> set[str]:
    """The names of those that there are scores of."""
    index = study.score_index()
    return {one.name for one in applications if entries_of(study, index, one)}


def read(models: LoadedModels, study: Study, entry: Entry) -> Scores:
    """The scores of an entry of the study's index; they stay in memory. Raises: UserError."""

    def from_disk() -> Scores:
        found = study.scores(task=entry["task"], method=entry["method"], weights=entry["weights"])
        return next(s for s in found if (s.split, s.examples, s.seed, s.labels) == wanted)

    wanted = tuple(entry[name] for name in ("split", "examples", "seed", "labels"))
    which = ("weights", "task", "method", "created", "turn")
    key = ("scores", str(study.path.absolute()), *(entry[name] for name in which))
    return models.memo((*key, *wanted), from_disk)


def of_application(models: LoadedModels, study: Study, application: Application) -> dict[str, Scores]:
    """method -> newest scores of the application's own weights, in the order of the registry. Raises: UserError."""
    mine = newest(entries_of(study, study.score_index(), application))
    return {method: read(models, study, mine[method]) for method in in_order(mine)}


def by_method(
    models: LoadedModels, study: Study, applications: Sequence[Application]
) -> dict[str, list[tuple[Application, Scores]]]:
    """method -> its newest scores of every application, in the order of the registry. Raises: UserError."""
    found: dict[str, list[tuple[Application, Scores]]] = {}
    for application in applications:
        for method, scores in of_application(models, study, application).items():
            found.setdefault(method, []).append((application, scores))
    return {method: found[method] for method in in_order(found)}
