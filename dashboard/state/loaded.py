"""What is loaded in this process, each thing once: encoders, tasks, cost models, facts.

Keyed by where things come from, never by tensors. Loading takes seconds, so it happens in workers; a page only looks
whether something is there already.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from asc_core.compress.calibrations import Calibrations
from asc_core.encoder import Encoder
from asc_core.evaluate.prefix_cache import PrefixCache
from asc_core.loading import load_encoder
from asc_core.plan import CostModel
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.tasks import Task, load_task
from dashboard.state.application import Application, Facts, describe

Value = TypeVar("Value")
ENCODERS_IN_MEMORY, OTHERS_IN_MEMORY = 8, 256
CALIBRATIONS_IN_MEMORY = 2


class LoadedModels:
    """Safe for any number of threads; two that want the same thing wait for one loading of it."""

    def __init__(self, encoder: Callable[[str], Encoder] = load_encoder, task: Callable[[str], Task] = load_task):
        self._load_encoder, self._load_task = encoder, task
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._encoders: OrderedDict[Hashable, Any] = OrderedDict()
        self._others: OrderedDict[Hashable, Any] = OrderedDict()
        self.calibrations = Calibrations(CALIBRATIONS_IN_MEMORY)
        self.states = PrefixCache()  # that evaluations of like cuts have in common

    def encoder(self, application: Application) -> Encoder:
        """Raises: UserError."""
        return self._once(
            self._encoders, ("encoder", application.encoder), lambda: self._load_encoder(application.encoder)
        )

    def task(self, application: Application) -> Task:
        """Raises: UserError."""
        return self._once(self._others, ("task", application.task), lambda: self._load_task(application.task))

    def cost_model(self, application: Application) -> CostModel:
        """Tokenises up to 1,024 texts the first time. Raises: UserError."""
        key = ("cost", application.encoder, application.task)
        return self._once(self._others, key, lambda: task_cost_model(self.encoder(application), self.task(application)))

    def facts(self, application: Application) -> Facts:
        """Reads all splits the first time. Raises: UserError."""
        return self._once(self._others, ("facts", application.task), lambda: describe(self.task(application)))

    def memo(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Anything else that should be made once for a key, then kept in memory."""
        return self._once(self._others, key, make)

    def cached_facts(self, application: Application) -> Facts | None:
        return self._others.get(("facts", application.task))

    def cached_cost_model(self, application: Application) -> CostModel | None:
        return self._others.get(("cost", application.encoder, application.task))

    def cached_encoder(self, application: Application) -> Encoder | None:
        return self._encoders.get(("encoder", application.encoder))

    def forget(self, application: Application) -> None:
        """Load it again next time: a file may have been corrected."""
        with self._lock:
            for kept in (self._encoders, self._others):
                for key in [k for k in kept if {application.encoder, application.task} & set(k[1:])]:  # type: ignore[index]
                    del kept[key]

    def _once(self, kept: OrderedDict[Hashable, Any], key: Hashable, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            with self._lock:
                if key in kept:
                    return kept[key]
            made = make()
            with self._lock:
                kept[key] = made
                while len(kept) > (ENCODERS_IN_MEMORY if kept is self._encoders else OTHERS_IN_MEMORY):
                    kept.popitem(last=False)
            return made
