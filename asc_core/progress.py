"""How long work reports how far it is and learns that nobody wants it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from asc_core.errors import Cancelled


@dataclass
class Progress:
    """Handed down into every long computation; `step` is called between batches.

    `report(done, total, what)` may be called from a worker thread; `cancel` may be set from any thread.
    """

    report: Callable[[int, int, str], None] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises: Cancelled, as soon as `cancel` is set."""
        if self.cancel.is_set():
            raise Cancelled("")

    def step(self, done: int, total: int, what: str) -> None:
        """Report `done` of `total` units of `what`. Raises: Cancelled, as soon as `cancel` is set."""
        if self.cancel.is_set():
            raise Cancelled(what)
        if self.report is not None:
            self.report(done, total, what)
