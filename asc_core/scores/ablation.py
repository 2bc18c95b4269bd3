"""Exact ablation: what the loss and the metric become with one part switched off, the truth that scores are judged by.

Ranked by the loss, because the metric of a few hundred examples has ties. How far even this ranking can be trusted is
its split-half reliability: no other score can be expected to agree with it better than it agrees with itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.parts import ABLATED, NEURON_GROUPS, SUBLAYERS
from asc_core.progress import ABLATING, Progress
from asc_core.scores.ablated_forward import AblatedForward, Part
from asc_core.scores.ablation_state import AblationState
from asc_core.scores.data_fingerprint import data_fingerprint
from asc_core.scores.method import OwnPass, Request
from asc_core.scores.neuron_groups import GROUPS, neuron_groups
from asc_core.scores.reliability import Weighted, reliabilities
from asc_core.scores.streaming import REPLICATES, replicate_weights
from asc_core.study import SECONDS_BETWEEN_SAVES, Study
from asc_core.tasks.base import Examples, Features, Metric, Task
from asc_core.values import PartValues, Scores, Shape

ABLATION, ABLATION_METRIC = "ablation", "ablation-metric"
_STATE_VERSION = 1


def ablate(
    encoder: Encoder,
    task: Task,
    *,
    parts: Sequence[str] = ABLATED,
    split: str = "train",
    samples: int | None = 256,
    seed: int = 0,
    groups: int = GROUPS,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    study: Study | None = None,
) -> dict[str, Scores]:
    """Switch off every part in turn: {"ablation": change of the loss, "ablation-metric": change of the metric}.

    Both are such that higher = contributes more: the loss without the part less the dense one; the dense metric less
    the one without it. Either may be negative: the task does better without the part.

    parts: which kinds of `ABLATED`. Single neurons get the value of their group divided by its size ("neuron-groups",
    `groups` of them a row, see `neuron_groups`). A part of weights that several layers share is switched off in all of
    them. batch_tokens: tokens that go through the layers at once, padding counted; results do not depend on it beyond
    rounding. samples, split, study, progress: as in `sweep`; an ablation that was cancelled or killed goes on with the
    batch that it was in.

    Intervals: Poisson bootstrap over examples of the paired differences. `Scores.details` holds "reliability.<kind>":
    (1,) the split-half reliability of the ranking (see `reliability`), where there are at least 3 parts of a kind, and
    with neuron groups "groups.<row>": (neurons,) the group of each.

    Raises: UserError (unknown kind of part, task without labels), Cancelled.
    """
    encoder.require_parts()
    work = Work.prepare(encoder, task, parts, split, samples, seed, batch_tokens)
    progress = progress or Progress()
    texts = data_fingerprint(task, split, samples, seed)
    settings = (encoder.weights, task.name, texts, split, seed, work.tokens, list(parts), groups)
    key = json.dumps(["ablation", _STATE_VERSION, *settings])
    state = AblationState.restore(study.partial(key) if study is not None else None)
    if NEURON_GROUPS in parts and not state.groups:
        inputs = (task.batch(work.features, rows, encoder).inputs for rows in work.batches)
        state.groups = neuron_groups(encoder, inputs, groups, seed)
    listed = parts_of(encoder.shape, parts, state.groups)
    _measure(work, listed, state, progress, study, key)
    results = _scores(work, encoder, listed, state, split, seed, texts)
    if study is not None:
        for scores in results.values():
            study.save_scores(scores)
        study.drop_partial(key)
    return results


def parts_of(shape: Shape, kinds: Sequence[str], groups: Sequence[np.ndarray] = ()) -> list[Part]:
    """All parts of some kinds, in the order of the layers in which they begin. groups: for "neuron-groups"."""
    found: list[Part] = []
    for row, heads in enumerate(shape.heads):
        if "heads" in kinds:
            found += [Part("heads", row, head, (head,)) for head in range(heads)]
        found += [Part(kind, row) for kind in SUBLAYERS if kind in kinds]
        if NEURON_GROUPS in kinds:
            count = int(groups[row].max()) + 1 if groups[row].size else 0
            found += [Part(NEURON_GROUPS, row, g, tuple(np.flatnonzero(groups[row] == g))) for g in range(count)]
    if "layers" in kinds:
        found += [Part("layers", layer) for layer in range(shape.layers)]
    return sorted(found, key=lambda part: part.first_layer(shape.rows))


@dataclass
class Work:
    """What is computed on. batches: features of some examples each, all windows of an example together."""

    encoder: Encoder
    task: Task
    examples: Examples
    features: Features
    batches: list[np.ndarray]
    tokens: int

    @staticmethod
    def prepare(
        encoder: Encoder,
        task: Task,
        kinds: Sequence[str],
        split: str,
        samples: int | None,
        seed: int,
        batch_tokens: int | None,
    ) -> Work:
        for kind in kinds:
            if kind not in ABLATED:
                raise UserError(f"There is no kind of part {kind!r}; there are: {', '.join(ABLATED)}.")
        if not task.labelled:
            raise UserError(
                f"Ablation measures the loss, and the task {task.name} has no labels: name its label field."
            )
        examples = task.examples(split, samples, seed)
        features = task.features(examples, encoder)
        tokens = batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
        return Work(encoder, task, examples, features, _batches(features, tokens), tokens)

    def pieces(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """A batch that one example with many windows makes too large, cut at the limit."""
        for piece in batches_by_length(self.features.lengths[rows], self.tokens):
            yield rows[np.sort(piece)]


def _batches(features: Features, tokens: int) -> list[np.ndarray]:
    """Rows of features, of like length, an example's windows next to each other and in order."""
    starts = np.flatnonzero(np.diff(features.example, prepend=-1))
    windows = np.split(np.arange(len(features)), starts[1:])
    longest = np.maximum.reduceat(features.lengths, starts)
    area = longest * np.diff(starts, append=len(features))
    return [np.concatenate([windows[e] for e in np.sort(batch)]) for batch in batches_by_length(area, tokens)]


def _measure(
    work: Work, parts: Sequence[Part], state: AblationState, progress: Progress, study: Study | None, key: str
) -> None:
    """All batches, from where an earlier run was saved. On Cancelled the state is saved too."""
    runner = AblatedForward(work.encoder, work.task, work.features, parts, work.tokens)
    finished = sum(map(len, work.batches[: state.batches])) * len(parts)
    total, what = len(work.features) * len(parts), f"ablating {work.task.name}"
    last_save, saved = time.monotonic(), state.batches

    def step(done: int) -> None:
        nonlocal finished
        finished += done
        progress.step(finished, total, what, ABLATING)

    try:
        step(0)
        for rows in work.batches[state.batches :]:
            _add(work, runner, rows, state, step)
            if study is not None and time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                state.save(study, key)
                last_save, saved = time.monotonic(), state.batches
    except BaseException:
        if study is not None and state.batches > saved:
            state.save(study, key)
        raise


def losses_without(work: Work, parts: Sequence[Part], check: Callable[[], None]) -> tuple[np.ndarray, np.ndarray]:
    """((examples, 1 + parts) losses, first the dense model's, sums over windows; (examples,) windows).

    check: called now and then; what it raises ends the work.
    """
    runner = AblatedForward(work.encoder, work.task, work.features, parts, work.tokens)
    loss = np.zeros((len(work.features), 1 + len(parts)))
    for piece in (piece for batch in work.batches for piece in work.pieces(batch)):
        for part, rows, losses, _ in _pass(work, runner, piece, lambda done: check()):
            loss[rows, part] = losses
    starts = np.flatnonzero(np.diff(work.features.example, prepend=-1))
    return np.add.reduceat(loss, starts), np.diff(starts, append=len(loss))


def _add(
    work: Work, runner: AblatedForward, rows: np.ndarray, state: AblationState, step: Callable[[int], None]
) -> None:
    """Loss and statistics of the examples of one batch, dense and with each part switched off."""
    position = {int(row): i for i, row in enumerate(rows)}
    loss = np.zeros((len(rows), 1 + len(runner.parts)))
    predictions: list[list[Any]] = [[None] * len(rows) for _ in range(1 + len(runner.parts))]
    for piece in work.pieces(rows):
        for part, of, losses, predicted in _pass(work, runner, piece, step):
            at = [position[int(row)] for row in of]
            loss[at, part] = losses
            for i, prediction in zip(at, predicted, strict=True):
                predictions[part][i] = prediction
    chosen, windows = np.unique(work.features.example[rows], return_counts=True)
    features, examples = work.features.of_examples(chosen), work.examples.subset(chosen)
    statistics = [work.task.statistics(each, features, examples, predictions[0]) for each in predictions]
    first = np.cumsum(windows) - windows
    state.store(len(work.examples), chosen, windows, np.add.reduceat(loss, first), np.stack(statistics, 1))


def _pass(
    work: Work, runner: AblatedForward, rows: np.ndarray, step: Callable[[int], None]
) -> Iterator[tuple[int, np.ndarray, np.ndarray, list[Any]]]:
    """(0 for dense or 1 + part, features, their losses, their predictions)"""
    with torch.inference_mode():
        batch, output, states = runner.dense(rows)
        yield 0, rows, work.task.loss(output, batch).cpu().numpy(), work.task.predict(output, batch)
        for group in runner.run(rows, states):
            losses = work.task.loss(group.output, group.batch).cpu().numpy().reshape(len(group.parts), -1)
            predicted = work.task.predict(group.output, group.batch)
            n = len(group.features)
            for i, part in enumerate(group.parts):
                yield 1 + part, group.features, losses[i], predicted[i * n : (i + 1) * n]
            step(len(group.parts) * n)


def loss_changes(loss: np.ndarray, windows: np.ndarray) -> Weighted:
    """From (R, n) weights of examples to (R, parts) changes of the loss. loss, windows: see `AblationState`."""
    changes = loss[:, 1:] - loss[:, :1]
    return lambda weights: (weights @ changes) / (weights @ windows)[:, None]


def metric_changes(statistics: np.ndarray, metric: Metric) -> Weighted:
    """The same for the metric. statistics: (n, 1 + parts, k)."""

    def of_part(part: int, weights: np.ndarray) -> np.ndarray:
        if metric.from_sums is not None:
            return np.asarray(metric.from_sums(weights @ statistics[:, part]))
        counts = weights.astype(np.int64)
        return np.asarray([metric.value(np.repeat(statistics[:, part], count, 0)) for count in counts])

    def changes(weights: np.ndarray) -> np.ndarray:
        values = np.stack([of_part(part, weights) for part in range(statistics.shape[1])], -1)
        return values[:, :1] - values[:, 1:]

    return changes


def _scores(
    work: Work, encoder: Encoder, parts: Sequence[Part], state: AblationState, split: str, seed: int, texts: str
) -> dict[str, Scores]:
    assert state.loss is not None
    assert state.statistics is not None
    assert state.windows is not None
    examples = len(work.examples)
    details = {f"groups.{row}": group for row, group in enumerate(state.groups)}
    every = np.ones((1, examples))
    replicates = replicate_weights(seed, work.examples.numbers, REPLICATES).astype(np.float64)
    replicates = replicates[replicates.sum(1) > 0]
    kinds = [part.kind for part in parts]
    results = {}
    for method, changes in (
        (ABLATION, loss_changes(state.loss, state.windows)),
        (ABLATION_METRIC, metric_changes(state.statistics, work.task.metric)),
    ):
        low, high = np.percentile(changes(replicates), (2.5, 97.5), axis=0)
        value, low, high = (_values(parts, v, encoder.shape, state.groups) for v in (changes(every)[0], low, high))
        results[method] = Scores(
            method=method,
            values=value,
            low=low,
            high=high,
            shape=encoder.shape,
            weights=encoder.weights,
            task=work.task.name,
            split=split,
            examples=examples,
            seed=seed,
            labels="gold",
            notes=work.features.remarks(len(work.examples)),
            texts=texts,
            details=details
            | {
                f"reliability.{kind}": np.asarray([r])
                for kind, r in reliabilities(kinds, changes, examples, seed).items()
            },
        )
    return results


def _values(parts: Sequence[Part], numbers: np.ndarray, shape: Shape, groups: Sequence[np.ndarray]) -> PartValues:
    """One number a part, put where it belongs. A neuron has the share of its group's number that falls on it."""
    table: Mapping[str, dict[tuple[int, int], float]] = {kind: {} for kind in ABLATED}
    for part, number in zip(parts, numbers, strict=True):
        table[part.kind][part.place, part.index] = float(number)

    def places(kind: str) -> np.ndarray | None:
        found = table[kind]
        return np.asarray([found[place, 0] for place in range(len(found))]) if found else None

    heads = neurons = None
    if table["heads"]:
        heads = tuple(
            np.asarray([table["heads"][row, head] for head in range(count)]) for row, count in enumerate(shape.heads)
        )
    if table[NEURON_GROUPS]:
        sizes = [np.bincount(group) for group in groups]
        neurons = tuple(
            np.asarray([table[NEURON_GROUPS][row, int(g)] / sizes[row][g] for g in group])
            for row, group in enumerate(groups)
        )
    return PartValues(heads, neurons, places("attention"), places("ffn"), places("layers"))


def _run(encoder: Encoder, task: Task, request: Request) -> dict[str, Scores]:
    return ablate(
        encoder,
        task,
        split=request.split,
        samples=request.samples,
        seed=request.seed,
        batch_tokens=request.batch_tokens,
        progress=request.progress,
        study=request.study,
    )


METHODS = (
    OwnPass(
        id=ABLATION,
        title="Exact ablation",
        description="How much the loss rises with the part switched off; measured, not predicted. Single neurons have "
        "the share of their group. Details: reliability.<kind> of the ranking, groups.<row> of the neurons. A pass of "
        "its own, of many forward passes.",
        source="Leave-one-out",
        labels="gold",
        asked="by name",
        one_scale=True,
        reference=True,
        run=_run,
    ),
    OwnPass(
        id=ABLATION_METRIC,
        title="Exact ablation, by metric",
        description="How much the metric falls with the part switched off; it has many ties. Measured together with "
        "`ablation`.",
        source="Leave-one-out",
        labels="gold",
        asked="by name",
        reference=True,
        run=_run,
    ),
)
ABLATIONS = tuple(method.id for method in METHODS)
