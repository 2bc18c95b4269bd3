"""The pass over the texts that most scores share, batch by batch: saved for resuming, stopped early, looked at."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping, Sequence

import numpy as np

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.memory import Halving
from asc_core.progress import SCORING
from asc_core.scores.collector import Differentiable
from asc_core.scores.data_fingerprint import data_fingerprint
from asc_core.scores.first_look import Kept, examples_of, looks
from asc_core.scores.method import Collected, Growing, Method, Request
from asc_core.scores.ranking_stability import EarlyStop, growing_slices
from asc_core.scores.streaming import RememberedSums, Sums
from asc_core.scores.sweep_pass import SweepPass
from asc_core.study import SECONDS_BETWEEN_SAVES
from asc_core.tasks.base import Task
from asc_core.values import PartValues, Scores

_STATE_VERSION = 2

Addends = Sequence[Mapping[str, np.ndarray]]
"""What a batch adds to the sums, in one or, where memory is short, more parts."""
Looks = Generator["tuple[Sums, int] | None", None, Sums]
"""Sums and of how many examples they are; None where there is nothing to be seen. At the end those of all."""


class SharedPass:
    """One forward pass for all methods, and a backward pass where one of them needs it. For one sweep.

    stop_when_settled: see `sweep`.
    """

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        methods: Sequence[Collected],
        request: Request,
        token_share: float,
        stop_when_settled: float | None,
    ):
        self.encoder, self.task, self.methods, self.request = encoder, task, methods, request
        split, samples, seed = request.split, request.samples, request.seed
        collectors = list(dict.fromkeys(m.collector for m in methods))
        examples = task.examples(split, samples, seed)
        self._work = SweepPass(encoder, task, examples, collectors, request.targets, seed, token_share)
        texts = data_fingerprint(task, split, samples, seed)
        differentiates = any(issubclass(c, Differentiable) for c in collectors)
        settings = (encoder.weights, task.name, texts, split, seed, request.batch_tokens, token_share)
        needs = (request.targets if differentiates else "none", [c.__name__ for c in collectors])
        watched = ["growing"] if stop_when_settled is not None else []
        self._key = json.dumps(["sweep", _STATE_VERSION, *settings, *needs, *watched])
        tokens = request.batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
        self._early_stop: EarlyStop | None = None
        if stop_when_settled is None:
            self._batches = batches_by_length(self._work.features.lengths, tokens)
        else:
            self._batches, self._early_stop = _watched(self._work, tokens, methods, stop_when_settled)

    @property
    def _examples_done(self) -> int:
        return self._early_stop.examples if self._early_stop is not None else len(self._work.examples)

    def grow(self, looking: bool) -> Growing:
        """looking: whether to yield scores on the way, as `OwnPass.grow` does."""
        summing = self._sum_up(looking)
        while True:
            try:
                look = next(summing)
            except StopIteration as end:
                return self._filled(end.value, self._examples_done, settled=True)
            yield self._filled(*look, settled=False) if look is not None else {}

    def keep_nothing(self) -> None:
        """Once the scores are saved: there is nothing to go on with, unless it stopped early."""
        stopped = self._early_stop is not None and self._early_stop.stopped_early
        if self.request.study is not None and not stopped:
            self.request.study.drop_partial(self._key)

    def _filled(self, sums: Sums, examples: int, settled: bool) -> dict[str, Scores]:
        notes, found = self._work.features.remarks(len(self._work.examples)), {}
        early_stop = self._early_stop if settled else None
        if early_stop is not None:
            notes = " ".join(filter(None, (notes, early_stop.note)))
        for method in self.methods:
            empty = self.request.scores(
                method.id,
                self.encoder,
                self.task,
                PartValues(),
                examples,
                labels=method.labels_used(self.request.targets),
                notes=notes,
                details=early_stop.details(method.id) if early_stop is not None else {},
            )
            found[method.id] = method.fill(empty, sums)
        return found

    def _sum_up(self, looking: bool) -> Looks:
        """Add up all batches, from where an earlier run was saved. On Cancelled the state is saved too."""
        study, progress, early_stop = self.request.study, self.request.progress, self._early_stop
        saved = study.partial(self._key) if study is not None else None
        sums, done = (Sums(saved[0]), int(saved[1]["batches"])) if saved is not None else (Sums(), 0)
        if early_stop is not None:
            early_stop.curve = saved[1]["curve"] if saved is not None else []
        batches, total, what = self._batches, len(self._work.features), f"scoring {self.task.name}"
        halving = Halving(self.encoder.device, self._work.features.lengths)
        kept: Kept[Addends] = Kept()
        if looking and early_stop is None:
            yield from self._look(done, halving, kept)
        elif looking:
            yield None
        last_save, started_with = time.monotonic(), done

        def save() -> None:
            assert study is not None
            curve = {} if early_stop is None else {"curve": early_stop.curve}
            study.save_partial(self._key, sums.arrays, {"batches": done, **curve})

        try:
            for index in range(done, len(batches)):
                if early_stop is not None and early_stop.should_stop(done, sums):
                    if study is not None:
                        save()
                    break
                if looking and early_stop is not None and early_stop.is_stop(done):
                    yield sums, early_stop.examples
                progress.step(self._finished(done, kept), total, what, SCORING)
                before = sums.arrays
                try:
                    self._add(index, sums, halving, kept)
                except BaseException:
                    sums.arrays = before  # a batch counts whole or not at all, also when we are interrupted inside it
                    raise
                done = index + 1
                if study is not None and time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                    save()
                    started_with, last_save = done, time.monotonic()
            else:
                if early_stop is not None:
                    early_stop.should_stop(done, sums)  # for the last point of its curve
            progress.step(self._finished(done, kept), total, what, SCORING)
        except BaseException:
            if study is not None and done > started_with:
                save()
            raise
        return sums

    def _look(self, done: int, halving: Halving, kept: Kept[Addends]) -> Looks:
        """Sums of the batches that go first; what they add is kept for when their turn comes, if it has not been.

        done: batches that an earlier run has added up already, without anything to be seen of each.
        """
        example, total = self._work.features.example, len(self._work.features)
        seen, looked = Sums(), []
        for number, look in enumerate(looks(self._batches, example)):
            for index in look:
                self.request.progress.step(self._finished(done, kept), total, f"scoring {self.task.name}", SCORING)
                found = RememberedSums()
                self._read(index, found, halving)
                for addends in found.addends:
                    seen.increase(addends)
                size = sum(a.nbytes for each in found.addends for a in each.values())
                if index >= done and not kept.keep(index, found.addends, size) and number > 0:
                    return seen  # one look is worth reading its texts again, further ones are not
                looked.append(self._batches[index])
            yield seen, examples_of(looked, example)
        if not looked:
            yield None
        return seen

    def _add(self, index: int, sums: Sums, halving: Halving, kept: Kept[Addends]) -> None:
        known = kept.take(index)
        if known is None:
            self._read(index, sums, halving)
        for addends in known or ():
            sums.increase(addends)

    def _read(self, index: int, sums: Sums, halving: Halving) -> None:
        for _ in halving.run(self._batches[index], lambda rows: self._work.add(rows, sums)):
            pass

    def _finished(self, done: int, kept: Kept[Addends]) -> int:
        """How many features have been read: those added up, and those that wait for their turn."""
        return sum(map(len, self._batches[:done])) + sum(len(self._batches[index]) for index in kept)


def _watched(
    work: SweepPass, tokens: int, methods: Sequence[Method], stop_at: float
) -> tuple[list[np.ndarray], EarlyStop]:
    """Batches in slices of a growing number of examples, and what decides after each slice whether to stop."""
    batches: list[np.ndarray] = []
    ends: list[int] = []
    examples: list[int] = []
    for rows in growing_slices(work.features.example, work.seed):
        batches += [rows[batch] for batch in batches_by_length(work.features.lengths[rows], tokens)]
        ends.append(len(batches))
        examples.append(len(np.unique(work.features.example[rows])) + (examples[-1] if examples else 0))
    return batches, EarlyStop(methods, work.encoder.shape, ends, examples, stop_at)
