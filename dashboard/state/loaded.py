"""What is loaded in this process, each thing once: encoders, tasks, cost models, facts.

Keyed by where things come from, never by tensors. Loading takes seconds, so it happens in workers; a page only looks
whether something is there already. All of it is under one bound in bytes (`BoundedCache`), with the calibrations and
hidden states that repairs and evaluations keep for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeVar

from asc_core.bounded_cache import BoundedCache
from asc_core.compress.calibrations import Calibrations
from asc_core.encoder import Encoder
from asc_core.evaluate.features import tokenised_bytes
from asc_core.evaluate.prefix_cache import prefix_shelf
from asc_core.loading import load_encoder
from asc_core.machine_memory import give_back
from asc_core.plan import CostModel
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.same_weights import share_equal
from asc_core.size_in_memory import size_of
from asc_core.tasks import Task, load_task
from asc_core.vocabulary import TokenScores, token_scores
from dashboard.state.application import Application, Facts, describe

Value = TypeVar("Value")
WORTH_GIVING_BACK = 64 << 20
SECONDS_BETWEEN_SIZES = 5.0


def pace_key(application: Application) -> Hashable:
    """Under which how fast its encoder is here is kept in memory."""
    return "pace", application.encoder


class LoadedModels:
    """Safe for any number of threads; two that want the same thing wait for one loading of it.

    kept: everything that is kept for speed, under one bound.
    """

    def __init__(
        self,
        encoder: Callable[[str], Encoder] = load_encoder,
        task: Callable[[str], Task] = load_task,
        kept: BoundedCache | None = None,
    ):
        self._load_encoder, self._load_task = encoder, task
        self.kept = kept or BoundedCache(freed=_freed)
        self._encoders, self._tasks = self.kept.shelf("encoders"), self.kept.shelf("texts")
        self._others = self.kept.shelf("other")
        self._last_encoder: tuple[Hashable, Encoder | None] = (None, None)
        self._sized: dict[Hashable, float] = {}
        self._sharing = threading.Lock()
        self.kept.shelf("calibrations", self.kept.most_bytes // 4)  # else they would fill it with what few windows need
        self.calibrations = Calibrations(most=None, kept=self.kept)
        self.states = prefix_shelf(self.kept)  # that evaluations of like cuts have in common

    def encoder(self, application: Application) -> Encoder:
        """Raises: UserError."""
        found = self._encoders.once(application.encoder, lambda: self._loaded(application.encoder), size_of)
        self._last_encoder = application.encoder, found
        return found

    def _loaded(self, source: str) -> Encoder:
        loaded = self._load_encoder(source)
        with self._sharing:
            share_equal(loaded, self._encoders.values())
        return loaded

    def task(self, application: Application) -> Task:
        """Raises: UserError."""
        key = application.task
        found = self._tasks.once(key, lambda: self._load_task(key), size_of)
        if time.monotonic() - self._sized.get(key, -1e9) > SECONDS_BETWEEN_SIZES:  # it grows by what is read of it
            self._sized[key] = time.monotonic()
            self._tasks.resize(key, found, size_of(found) + tokenised_bytes(found))
        return found

    def cost_model(self, application: Application) -> CostModel:
        """Tokenises up to 1,024 texts the first time. Raises: UserError."""
        key = ("cost", application.encoder, application.task)
        return self.memo(key, lambda: task_cost_model(self.encoder(application), self.task(application)))

    def facts(self, application: Application) -> Facts:
        """Reads all splits the first time. Raises: UserError."""
        return self.memo(("facts", application.task), lambda: describe(self.task(application)))

    def memo(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Anything else that should be made once for a key, then kept in memory."""
        return self._others.once(key, make, partial(size_of, without=(Encoder, Task)))

    def token_scores(self, application: Application, margin_texts: str = "") -> TokenScores:
        """Tokenises train and validation the first time. margin_texts: see `general_order`. Raises: UserError."""

        def make() -> TokenScores:
            task = self.task(application)
            splits = tuple(split for split in ("validation",) if split in task.splits)
            return token_scores(self.encoder(application), task, margin_texts=margin_texts, splits=splits)

        return self.memo(("tokens", application.encoder, application.task, margin_texts), make)

    def cached_token_scores(self, application: Application, margin_texts: str = "") -> TokenScores | None:
        return self._others.get(("tokens", application.encoder, application.task, margin_texts))

    def cached_facts(self, application: Application) -> Facts | None:
        return self._others.get(("facts", application.task))

    def cached_cost_model(self, application: Application) -> CostModel | None:
        return self._others.get(("cost", application.encoder, application.task))

    def cached_pace(self, application: Application) -> float | None:
        """See `asc_core.evaluate.seconds_ahead.pace_of`."""
        return self._others.get(pace_key(application))

    def cached_encoder(self, application: Application) -> Encoder | None:
        """The one used last also where it is larger than the bound: a page would load it again and again."""
        source, last = self._last_encoder
        found = self._encoders.get(application.encoder)
        return last if found is None and source == application.encoder else found

    def forget(self, application: Application) -> None:
        """Load it again next time: a file may have been corrected."""
        mine = {application.encoder, application.task}
        self._encoders.drop(lambda key: key in mine)
        self._tasks.drop(lambda key: key in mine)
        self._others.drop(lambda key: bool(mine & set(key[1:])))
        if self._last_encoder[0] in mine:
            self._last_encoder = None, None

    def free(self) -> int:
        """Let go of everything that is kept for speed. Returns the bytes of it."""
        self._last_encoder = None, None
        self._sized.clear()
        return self.kept.free()


def _freed(size: int) -> None:
    if size >= WORTH_GIVING_BACK:
        give_back()
