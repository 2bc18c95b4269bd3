"""What the panels of the Map page are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from asc_core.values import Scores
from dashboard.state.application import Application


@dataclass(frozen=True)
class MapSelection:
    """application, method: what was chosen. scored: method -> (application, its newest scores) of all that have any.

    share: of the parts, the lowest that would go.
    """

    application: Application
    method: str
    scored: Mapping[str, list[tuple[Application, Scores]]]
    share: float

    @property
    def own(self) -> dict[str, Scores]:
        """method -> scores of the application in view."""
        return {
            method: scores
            for method, found in self.scored.items()
            for application, scores in found
            if application.name == self.application.name
        }

    @property
    def scores(self) -> Scores | None:
        return self.own.get(self.method)

    @property
    def others(self) -> list[tuple[Application, Scores]]:
        """All applications scored by the method in view, on encoders of one shape."""
        found = self.scored[self.method]
        shape = self.scores.shape if self.scores is not None else found[0][1].shape
        return [(application, scores) for application, scores in found if scores.shape == shape]
