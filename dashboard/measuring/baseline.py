"""The uncut model's outcome on each example of a split: measured once, as far as anyone has needed it.

A cut is compared on the examples that it has been measured on so far, so its first estimate need not wait for the whole
original. What was measured is kept in the study slice by slice: a move of the slider ends the measurement of a cut, but
the next cut goes on with this one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from asc_core.encoder import Encoder
from asc_core.evaluate import PerExampleResult, measuring
from asc_core.progress import Progress
from asc_core.study import Study
from asc_core.tasks import Task

SECONDS_BETWEEN_POLLS = 0.05


class Baseline:
    """Safe for any number of threads: two that need more of it wait for one measurement."""

    def __init__(
        self, encoder: Encoder, task: Task, split: str, study: Study, finished: Callable[[PerExampleResult], None]
    ):
        """finished: told the outcome on all examples, once."""
        self.encoder, self.task, self.split, self.study, self.finished = encoder, task, split, study, finished
        self._key = f"original|{encoder.weights}|{task.name}|{task.digest(split)}|{split}"
        self._measuring = threading.Lock()
        kept = study.partial(self._key)
        self._outcome = PerExampleResult.from_arrays(*kept) if kept is not None else None

    @property
    def tokens(self) -> float | None:
        """Of all examples' texts, as far as those that were measured tell; None before any was."""
        found = self._outcome
        return None if found is None else found.mean_length * found.total

    def begun(self, progress: Progress) -> PerExampleResult:
        """On as many examples as a first estimate needs. Raises: UserError, Cancelled."""
        return self._until(lambda outcome: True, progress)

    def whole(self, progress: Progress) -> PerExampleResult:
        """On all examples. Raises: UserError, Cancelled."""
        return self._until(lambda outcome: outcome.complete, progress)

    def on(self, numbers: np.ndarray, progress: Progress) -> PerExampleResult:
        """On these examples at least, the first ones of a measurement. Raises: UserError, Cancelled."""

        def enough(outcome: PerExampleResult) -> bool:
            return outcome.complete or bool(np.isin(numbers, outcome.numbers).all())

        return self._until(enough, progress)

    def _until(self, enough: Callable[[PerExampleResult], bool], progress: Progress) -> PerExampleResult:
        while self._outcome is None or not enough(self._outcome):  # looked at again while another one measures
            if self._measuring.acquire(timeout=SECONDS_BETWEEN_POLLS):
                try:
                    self._measure(enough, progress)
                finally:
                    self._measuring.release()
            else:
                progress.check()
        return self._outcome

    def _measure(self, enough: Callable[[PerExampleResult], bool], progress: Progress) -> None:
        if self._outcome is not None and enough(self._outcome):
            return
        for outcome in measuring(self.encoder, self.task, self.split, progress=progress, known=self._outcome):
            self._keep(outcome)
            if enough(outcome):
                return

    def _keep(self, outcome: PerExampleResult) -> None:
        # Nobody stops a measurement by what the original's value is: on all examples it has been looked at once.
        self._outcome = replace(outcome, before=None)
        self.study.save_partial(self._key, *self._outcome.to_arrays())
        if outcome.complete:
            self.finished(self._outcome)
