"""How long work reports how far it is and learns that nobody wants it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from asc_core.errors import Cancelled

SCORING, ABLATING, CALIBRATING, REPAIRING = "scoring", "ablating", "calibrating", "repairing"
"""Phases that somebody asks for. What is shown to people is `what`, which may be worded anew at any time."""


def removing(kind: str) -> str:
    """The phase in which parts of a kind are removed in the order of a score."""
    return f"removing {kind}"


@dataclass
class Progress:
    """Handed down into every long computation; `step` is called between batches.

    `report(done, total, what)` may be called from a worker thread; `cancel` may be set from any thread. phase: of the
    step that is being reported, for those who do more than show it; "" where the work does not say.
    """

    report: Callable[[int, int, str], None] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    phase: str = ""

    def check(self) -> None:
        """Raises: Cancelled, as soon as `cancel` is set."""
        if self.cancel.is_set():
            raise Cancelled("")

    def step(self, done: int, total: int, what: str, phase: str = "") -> None:
        """Report `done` of `total` units of `what`. Raises: Cancelled, as soon as `cancel` is set."""
        if self.cancel.is_set():
            raise Cancelled(what)
        self.phase = phase
        if self.report is not None:
            self.report(done, total, what)
