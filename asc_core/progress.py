"""How long work reports how far it is and learns that nobody wants it any more."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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

    In a notebook a bar is shown where nothing else is said; elsewhere `Progress(bar())` shows one.
    """

    report: Callable[[int, int, str], None] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    phase: str = ""

    def __post_init__(self) -> None:
        if self.report is None and in_notebook():
            self.report = bar()

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


def bar() -> Callable[[int, int, str], None] | None:
    """What reports as a bar of tqdm, as a widget where there are widgets; None where there is no tqdm."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    shown: Any = None

    def report(done: int, total: int, what: str) -> None:
        nonlocal shown
        if shown is not None and (shown.desc != f"{what}: " or done < shown.n):
            shown.close()
            shown = None
        if shown is None:
            shown = tqdm(total=total, desc=what, leave=False)
        shown.total = total
        shown.update(done - shown.n)
        if done >= total:
            shown.close()
            shown = None

    return report


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which nothing but IPython tells."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "ZMQInteractiveShell" in {kind.__name__ for kind in type(shell).__mro__}
