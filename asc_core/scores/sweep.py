"""The sweep: every score from one pass over a calibration set.

All collectors share one forward pass and, when any of them needs it, one backward pass of the summed loss, which
computes gradients of readout inputs and of no weight. Each says something of every example; sums of that are all that
is kept, so memory grows with the model and not with the data, and so is what a killed sweep goes on from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import numpy as np

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.memory import Halving
from asc_core.progress import SCORING, Progress
from asc_core.scores.collector import TOKEN_SHARE, Differentiable
from asc_core.scores.data_fingerprint import data_fingerprint
from asc_core.scores.method import Collected, FromWeights, Method, OwnPass, Request
from asc_core.scores.methods import chosen_methods
from asc_core.scores.ranking_stability import EarlyStop, growing_slices
from asc_core.scores.streaming import Sums
from asc_core.scores.sweep_pass import SweepPass
from asc_core.study import SECONDS_BETWEEN_SAVES, Study
from asc_core.tasks.base import Targets, Task
from asc_core.values import PartValues, Scores

_STATE_VERSION = 2


def sweep(
    encoder: Encoder,
    task: Task,
    methods: Sequence[str] | str | None = None,
    *,
    split: str = "train",
    samples: int | None = 1024,
    seed: int = 0,
    targets: Targets | None = None,
    batch_tokens: int | None = None,
    token_share: float = TOKEN_SHARE,
    stop_when_settled: float | None = None,
    progress: Progress | None = None,
    study: Study | None = None,
) -> dict[str, Scores]:
    """Score the parts of an encoder by several methods at once: {method id: Scores}.

    methods: ids in `METHODS`; None = all that share one loss, with any attention kernel; ["all"] = the dearer ones,
    too (each further loss is one more backward pass). samples: examples drawn from the split by seed, None = all of it.
    targets: labels for the loss of the methods that have one; by default gold, or "sampled" (drawn from the model's
    own distribution) where the task has none. batch_tokens: tokens of a batch, padding counted; results do not depend
    on it beyond rounding, but for sampled targets, whose draws belong to a batch.
    token_share: how many of the tokens are looked at for single heads and neurons (at least 2 a text).
    stop_when_settled: end after 64, 128, 256, ... examples, as soon as every method's ranking has this stability (see
    `ranking_stability`; 0.95, say). What it was at each stop is in `Scores.details` ("stability.<kind>"). With a study,
    the same sweep with a higher value goes on from where it ended, with 1 to the end. By default it is not watched.
    study: results are saved there, and a sweep that was cancelled or killed goes on from where it was last saved.

    In question answering the unit is the window of a long text: each has its own loss and counts as one; in the
    bootstrap, the windows of an example stand and fall together.

    Safe in several threads on one encoder. Raises: UserError (unknown method, no labels, a single text does not fit
    into memory), Cancelled.
    """
    everything = chosen_methods(methods)
    chosen = [method for method in everything if isinstance(method, Collected)]
    progress = progress or Progress()
    targets = targets or ("gold" if task.labelled else "sampled")
    scores: dict[str, Scores] = {}
    collectors = list(dict.fromkeys(m.collector for m in chosen))
    differentiates = any(issubclass(c, Differentiable) for c in collectors)
    names = ", ".join(m.id for m in chosen if m.labels == "gold or own")
    if names and targets == "gold" and not task.labelled:
        raise UserError(f"The task {task.name} has no labels for {names}: choose targets 'sampled' or 'argmax'.")
    if collectors:
        work = SweepPass(encoder, task, task.examples(split, samples, seed), collectors, targets, seed, token_share)
        texts = data_fingerprint(task, split, samples, seed)
        settings = (encoder.weights, task.name, texts, split, seed, batch_tokens, token_share)
        needs = (targets if differentiates else "none", [c.__name__ for c in collectors])
        watched = ["growing"] if stop_when_settled is not None else []
        key = json.dumps(["sweep", _STATE_VERSION, *settings, *needs, *watched])
        tokens = batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
        if stop_when_settled is None:
            batches, early_stop = batches_by_length(work.features.lengths, tokens), None
        else:
            batches, early_stop = _watched(work, tokens, chosen, stop_when_settled)
        sums = _run(work, batches, progress, study, key, early_stop)
    request = Request(split, samples, seed, targets, batch_tokens, progress, study)
    for method in chosen:
        notes, details = work.features.remarks(len(work.examples)), {}
        if early_stop is not None:
            notes = " ".join(filter(None, (notes, early_stop.note)))
            details = early_stop.details(method.id)
        examples = len(work.examples) if early_stop is None else early_stop.examples
        labels = method.labels_used(targets)
        empty = request.scores(
            method.id, encoder, task, PartValues(), examples, labels=labels, notes=notes, details=details
        )
        scores[method.id] = method.fill(empty, sums)
    for free in (method for method in everything if isinstance(method, FromWeights)):
        scores[free.id] = request.scores(free.id, encoder, task, free.values(encoder, seed), 0)
    if study is not None:
        for result in scores.values():
            study.save_scores(result)
        if collectors and not (early_stop is not None and early_stop.stopped_early):
            study.drop_partial(key)
    for run in dict.fromkeys(method.run for method in everything if isinstance(method, OwnPass)):
        found = run(encoder, task, request)
        scores |= found
        if study is not None:
            for result in found.values():
                study.save_scores(result)
    return {method.id: scores[method.id] for method in everything}


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


def _run(
    work: SweepPass,
    batches: Sequence[np.ndarray],
    progress: Progress,
    study: Study | None,
    key: str,
    early_stop: EarlyStop | None,
) -> Sums:
    """Add up all batches, from where an earlier run was saved. On Cancelled the state is saved too."""
    saved = study.partial(key) if study is not None else None
    sums, done = (Sums(saved[0]), int(saved[1]["batches"])) if saved is not None else (Sums(), 0)
    total, what = len(work.features), f"scoring {work.task.name}"
    last_save = time.monotonic()
    finished = sum(map(len, batches[:done]))
    started_with = done
    halving = Halving(work.encoder.device, work.features.lengths)
    if early_stop is not None:
        early_stop.curve = saved[1]["curve"] if saved is not None else []

    def save() -> None:
        assert study is not None
        curve = {} if early_stop is None else {"curve": early_stop.curve}
        study.save_partial(key, sums.arrays, {"batches": done, **curve})

    try:
        for batch in batches[done:]:
            if early_stop is not None and early_stop.should_stop(done, sums):
                if study is not None:
                    save()
                break
            progress.step(finished, total, what, SCORING)
            before = sums.arrays
            try:
                for _ in halving.run(batch, lambda rows: work.add(rows, sums)):
                    pass
            except BaseException:
                sums.arrays = before  # a batch counts whole or not at all, also when we are interrupted inside it
                raise
            done += 1
            finished += len(batch)
            if study is not None and time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                save()
                started_with, last_save = done, time.monotonic()
        else:
            if early_stop is not None:
                early_stop.should_stop(done, sums)  # for the last point of its curve
        progress.step(finished, total, what, SCORING)
    except BaseException:
        if study is not None and done > started_with:
            save()
        raise
    return sums
