"""The newest scores of a study, by method and application; each read from disk once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asc_core.study import Study
from asc_core.values import Scores
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from dashboard.text.method_names import in_order

Entry = Mapping[str, Any]


def newest(index: Sequence[Entry], weights: str | None = None) -> dict[tuple[str, str], Entry]:
    """From a study's index, newest first: (task, method) -> its newest entry, of these weights where they are known."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in index:
        if weights in (None, entry["weights"]):
            found.setdefault((entry["task"], entry["method"]), entry)
    return found


def read(models: LoadedModels, study: Study, entry: Entry) -> Scores:
    """The scores of an entry of the study's index; they stay in memory. Raises: UserError."""

    def from_disk() -> Scores:
        found = study.scores(task=entry["task"], method=entry["method"], weights=entry["weights"])
        return next(s for s in found if (s.split, s.examples, s.seed, s.labels) == wanted)

    wanted = tuple(entry[name] for name in ("split", "examples", "seed", "labels"))
    key = ("scores", str(study.path.absolute()), *(entry[name] for name in ("weights", "task", "method", "created")))
    return models.memo((*key, *wanted), from_disk)


def of_application(models: LoadedModels, study: Study, application: Application) -> dict[str, Scores]:
    """method -> newest scores of the application's own weights, in the order of the registry. Raises: UserError."""
    entries = newest(study.score_index(), kept.weights(study, application).get())
    mine = {method: entry for (task, method), entry in entries.items() if task == application.name}
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
