"""The sweep: every score from one pass over a calibration set.

All collectors share one forward pass and, when any of them needs it, one backward pass of the summed loss, which
computes gradients of readout inputs and of no weight. Each says something of every example; sums of that are all that
is kept, so memory grows with the model and not with the data, and so is what a killed sweep goes on from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.memory import Halving
from asc_core.progress import Progress
from asc_core.scores.collector import TOKEN_SHARE
from asc_core.scores.margins import margins_of
from asc_core.scores.methods import Means, Method, chosen_methods
from asc_core.scores.origin import origin
from asc_core.scores.settling import Settling, growing_slices
from asc_core.scores.streaming import Sums
from asc_core.scores.surgeon import OBS, surgeon_scores
from asc_core.scores.sweep_pass import SweepPass
from asc_core.study import SECONDS_BETWEEN_SAVES, Study
from asc_core.tasks.base import Targets, Task
from asc_core.values import PartValues, Scores, Shape

_STATE_VERSION = 2


def sweep(
    encoder: Encoder,
    task: Task,
    methods: Sequence[str] | None = None,
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
    `settling`; 0.95, say). What it was at each stop is in `Scores.details` ("stability.<kind>"). With a study, the same
    sweep with a higher value goes on from where it ended, with 1 to the end. By default the sweep is not watched.
    study: results are saved there, and a sweep that was cancelled or killed goes on from where it was last saved.

    In question answering the unit is the window of a long text: each has its own loss and counts as one; in the
    bootstrap, the windows of an example stand and fall together.

    Safe in several threads on one encoder. Raises: UserError (unknown method, no labels, a single text does not fit
    into memory), Cancelled.
    """
    everything = chosen_methods(methods)
    chosen = [method for method in everything if not method.by_itself]
    progress = progress or Progress()
    targets = targets or ("gold" if task.labelled else "sampled")
    scores: dict[str, Scores] = {}
    collectors = list(dict.fromkeys(m.collector for m in chosen if m.collector is not None))
    differentiates = any(c.differentiates for c in collectors)
    names = ", ".join(m.id for m in chosen if m.labels == "gold or own")
    if names and targets == "gold" and not task.labelled:
        raise UserError(f"The task {task.name} has no labels for {names}: choose targets 'sampled' or 'argmax'.")
    if collectors:
        work = SweepPass(encoder, task, task.examples(split, samples, seed), collectors, targets, seed, token_share)
        texts = origin(task, split, samples, seed)
        settings = (encoder.weights, task.name, texts, split, seed, batch_tokens, token_share)
        needs = (targets if differentiates else "none", [c.__name__ for c in collectors])
        watched = ["growing"] if stop_when_settled is not None else []
        key = json.dumps(["sweep", _STATE_VERSION, *settings, *needs, *watched])
        tokens = batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
        if stop_when_settled is None:
            batches, settling = batches_by_length(work.features.lengths, tokens), None
        else:
            batches, settling = _watched(work, tokens, chosen, stop_when_settled)
        sums = _run(work, batches, progress, study, key, settling)
    for method in chosen:
        empty = Scores(
            method=method.id,
            values=PartValues(),
            shape=encoder.shape,
            weights=encoder.weights,
            task=task.name,
            split=split,
            examples=0,
            seed=seed,
            labels=method.labels_used(targets),
        )
        if method.from_weights is not None:
            scores[method.id] = replace(empty, values=method.from_weights(encoder, seed))
        else:
            remarks = work.features.remarks(len(work.examples))
            gathered = replace(empty, examples=len(work.examples), notes=remarks, texts=texts)
            if settling is not None:
                notes = " ".join(filter(None, (remarks, settling.note)))
                details = settling.details(method.id)
                gathered = replace(gathered, examples=settling.examples, notes=notes, details=details)
            scores[method.id] = _with_result(gathered, method, sums)
    if study is not None:
        for result in scores.values():
            study.save_scores(result)
        if collectors and not (settling is not None and settling.stopped_early):
            study.drop_partial(key)
    if any(method.by_itself for method in everything):
        scores[OBS] = surgeon_scores(
            encoder,
            task,
            split=split,
            samples=samples,
            seed=seed,
            batch_tokens=batch_tokens,
            progress=progress,
            study=study,
        )
    return {method.id: scores[method.id] for method in everything}


def _watched(
    work: SweepPass, tokens: int, methods: Sequence[Method], stop_at: float
) -> tuple[list[np.ndarray], Settling]:
    """Batches in slices of a growing number of examples, and what decides after each slice whether to stop."""
    batches: list[np.ndarray] = []
    ends: list[int] = []
    examples: list[int] = []
    for rows in growing_slices(work.features.example, work.seed):
        batches += [rows[batch] for batch in batches_by_length(work.features.lengths[rows], tokens)]
        ends.append(len(batches))
        examples.append(len(np.unique(work.features.example[rows])) + (examples[-1] if examples else 0))
    return batches, Settling(methods, work.encoder.shape, ends, examples, stop_at)


def _run(
    work: SweepPass,
    batches: Sequence[np.ndarray],
    progress: Progress,
    study: Study | None,
    key: str,
    settling: Settling | None,
) -> Sums:
    """Add up all batches, from where an earlier run was saved. On Cancelled the state is saved too."""
    saved = study.partial(key) if study is not None else None
    sums, done = (Sums(saved[0]), int(saved[1]["batches"])) if saved is not None else (Sums(), 0)
    total, what = len(work.features), f"scoring {work.task.name}"
    last_save = time.monotonic()
    finished = sum(map(len, batches[:done]))
    started_with = done
    halving = Halving(work.encoder.device, work.features.lengths)
    if settling is not None:
        settling.curve = saved[1]["curve"] if saved is not None else []

    def save() -> None:
        assert study is not None
        curve = {} if settling is None else {"curve": settling.curve}
        study.save_partial(key, sums.arrays, {"batches": done, **curve})

    try:
        for batch in batches[done:]:
            if settling is not None and settling.settled(done, sums):
                if study is not None:
                    save()
                break
            progress.step(finished, total, what)
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
            if settling is not None:
                settling.settled(done, sums)  # for the last point of its curve
        progress.step(finished, total, what)
    except BaseException:
        if study is not None and done > started_with:
            save()
        raise
    return sums


def _with_result(scores: Scores, method: Method, sums: Sums) -> Scores:
    """Fill in values, low, high, similarity and details."""
    if method.from_sums is not None:
        found, margins = method.from_sums(sums, scores.shape, scores.seed)
        below, above = ({part: found[part] + sign * m for part, m in margins.items()} for sign in (-1, 1))
        return replace(
            scores,
            values=_parts(found, scores.shape),
            low=_parts(below, scores.shape),
            high=_parts(above, scores.shape),
            similarity=found.get("similarity"),
        )
    assert method.combine is not None
    units, shape = method.statistics or {}, scores.shape
    means = {name: sums.mean(name, unit) for name, unit in units.items()}
    values, inner = method.combine(means, shape), method.signed or method.combine
    replicated = {name: sums.replicate_means(name, unit) for name, unit in units.items() if sums.replicated(name)}
    low: dict[str, np.ndarray] = {}
    high: dict[str, np.ndarray] = {}
    for part, drawn in (inner(replicated, shape) if replicated else {}).items():
        low[part], high[part] = np.percentile(drawn, (2.5, 97.5), axis=0)
    for ends, sign in ((low, -1), (high, 1)):
        ends |= _normal_ends(method, sums, inner(means, shape), sign)
    if method.signed is not None:
        low, high = _folded(low, high)
    return replace(
        scores,
        values=_parts(values, shape),
        low=_parts(low, shape),
        high=_parts(high, shape),
        similarity=values.get("similarity"),
        details={**scores.details, **_details(method, sums)},
    )


def _details(method: Method, sums: Sums) -> dict[str, np.ndarray]:
    return {name: sums.mean(name, unit) for prefix, unit in method.details.items() for name in sums.names(prefix)}


def _folded(low: Means, high: Means) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Intervals of absolute values from those of the signed numbers."""
    return (
        {part: np.maximum(np.maximum(low[part], -high[part]), 0) for part in low},
        {part: np.maximum(np.abs(low[part]), np.abs(high[part])) for part in low},
    )


def _normal_ends(method: Method, sums: Sums, values: Means, sign: int) -> dict[str, np.ndarray]:
    """One end of the interval of those parts whose statistics have no replicates."""
    least = -np.inf if method.negative or method.signed is not None else 0
    return {part: np.maximum(values[part] + sign * m, least) for part, m in margins_of(method, sums, values).items()}


def _parts(values: Means, shape: Shape) -> PartValues:
    def rows(kind: str, counts: tuple[int, ...]) -> tuple[np.ndarray, ...] | None:
        return tuple(np.split(values[kind], np.cumsum(counts)[:-1])) if kind in values else None

    return PartValues(
        heads=rows("heads", shape.heads),
        neurons=rows("neurons", shape.neurons),
        attention=values.get("attention"),
        ffn=values.get("ffn"),
        layers=values.get("layers"),
    )
