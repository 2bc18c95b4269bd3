"""What one model did on each example of a split: kept, so that a model is run on an example once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asc_core.batches import BatchLimits
from asc_core.encoder import Encoder
from asc_core.evaluate.fast_forward import can_restart
from asc_core.evaluate.features import tokenised
from asc_core.evaluate.predictions import predict, runner
from asc_core.evaluate.prefix_cache import CachedRunner, PrefixReuse
from asc_core.evaluate.sequential import schedule
from asc_core.evaluate.throughput import throughput_of
from asc_core.progress import Progress
from asc_core.tasks.base import Features, Reader, Task

FIRST_SLICE = 64  # examples, or more where they take less than this:
SECONDS_TO_FIRST = 0.68


@dataclass(frozen=True)
class PerExampleResult:
    """What one model did on some examples of one split, by ascending number.

    numbers: (n,) positions in the split.
    statistics: (n, k) of the task's metric.
    total: how many examples were asked for; n is smaller while the measurement runs.
    truncated: examples of all those that lost text.
    mean_length: tokens of a feature, padding not counted.
    predictions, feature_example: where the task is unlabelled, one prediction for each feature and the index (into
        numbers) of its example: what other models are compared with.
    notes: what a user should know: what had to be guessed while reading, and what looks wrong; see `Task.doubts`.
    before: how many there were at the interim analysis before this one, None where there was none: see `sequential`.
    """

    metric: str
    split: str
    numbers: np.ndarray
    statistics: np.ndarray
    total: int
    truncated: int = 0
    mean_length: float = 0.0
    predictions: tuple[Any, ...] | None = None
    feature_example: np.ndarray | None = None
    before: int | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def complete(self) -> bool:
        return len(self) == self.total

    def positions(self, numbers: np.ndarray) -> np.ndarray:
        """Where these examples stand here. Raises: ValueError where one was not measured."""
        where = np.searchsorted(self.numbers, numbers)
        if not len(self) or (self.numbers[np.minimum(where, len(self) - 1)] != numbers).any():
            raise ValueError(f"not all of the examples were measured: {len(self)} of {self.split} are, more are needed")
        return where

    def predictions_for(self, numbers: np.ndarray) -> list[Any]:
        """The predictions of these examples' features, in the order of `Features.of_examples`."""
        if self.predictions is None or self.feature_example is None:
            raise ValueError("no predictions were kept: the task has labels")
        begin = np.searchsorted(self.feature_example, np.arange(len(self) + 1))
        found: list[Any] = []
        for position in self.positions(numbers):
            found += self.predictions[begin[position] : begin[position + 1]]
        return found

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """(arrays, metadata), as they go into one safetensors file."""
        arrays = {"numbers": self.numbers, "statistics": self.statistics}
        facts: dict[str, Any] = {
            k: getattr(self, k) for k in ("metric", "split", "total", "truncated", "mean_length", "notes")
        }
        if self.predictions is not None and self.feature_example is not None:
            arrays["feature_example"] = self.feature_example
            packed, facts["tuples"] = _pack(self.predictions)
            arrays |= packed
        return {k: np.ascontiguousarray(v) for k, v in arrays.items()}, {"measured": json.dumps(facts)}

    @staticmethod
    def from_arrays(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> PerExampleResult:
        facts = json.loads(metadata["measured"])
        tuples = facts.pop("tuples", None)
        facts["notes"] = tuple(facts.get("notes", ()))
        predictions = None if tuples is None else _unpack(arrays, tuples)
        numbers, statistics = arrays["numbers"], arrays["statistics"]
        feature_example = arrays.get("feature_example")
        return PerExampleResult(
            numbers=numbers, statistics=statistics, predictions=predictions, feature_example=feature_example, **facts
        )


def measure(
    encoder: Reader,
    task: Task,
    split: str = "validation",
    *,
    reference: PerExampleResult | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
    reuse: PrefixReuse | None = None,
) -> PerExampleResult:
    """Run a model on a split, all at once.

    Args:
        encoder, task, split: what is run on what.
        reference: for a task without labels, the original model's result on at least these examples; where it is
            absent this model is the original, which agrees with itself.
        limit: that many examples, drawn by seed.
        limits: of a batch; by default what was measured to be fast here, see `throughput`.
        reuse: where to find and to keep hidden states.

    Raises:
        UserError: as the task's `examples` and `features` do, and where memory is too short.
        Cancelled: within one layer of a batch.
    """
    run = measuring(
        encoder,
        task,
        split,
        reference=reference,
        limit=limit,
        seed=seed,
        progress=progress,
        limits=limits,
        reuse=reuse,
        slices=False,
    )
    return next(run)


def measure_by_each(
    encoder: Reader, tasks: Sequence[Task], split: str = "validation", progress: Progress | None = None
) -> list[PerExampleResult]:
    """By several metrics of one labelled task, from one pass. tasks: see `TableTask.measured_by`.

    Raises: as `measure`.
    """
    examples, features = tokenised(encoder, tasks[0], split)
    predictions = predict(encoder, tasks[0], features, progress)
    return [
        _sorted(
            task,
            features,
            split,
            examples.numbers,
            [task.statistics(predictions, features, examples, None)],
            [],
            [],
            len(examples),
        )
        for task in tasks
    ]


def measuring(
    encoder: Reader,
    task: Task,
    split: str = "validation",
    *,
    reference: PerExampleResult | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
    reuse: PrefixReuse | None = None,
    known: PerExampleResult | None = None,
    slices: bool = True,
    seconds_to_first: float = SECONDS_TO_FIRST,
) -> Iterator[PerExampleResult]:
    """As `measure`, in growing slices, each yielded with all before it; the last one is complete.

    Slices are drawn by seed so that every one has the shares of classes (or lengths) that the whole has.

    Args:
        known: an earlier, incomplete result of the same model, split and seed, which is continued (in tasks with
            labels; what is no prefix of this measurement is not used).
        slices: whether there are any; else all examples come at once.
        seconds_to_first: what the first slice may take, by the throughput that was measured here.
    """
    progress = progress or Progress()
    examples, features = tokenised(encoder, task, split, limit, seed)
    total = len(examples)
    order = representative_order(features, total, seed)
    statistics: list[np.ndarray] = []
    predictions: list[Any] = []
    seen: list[Any] = []
    owners: list[np.ndarray] = []
    done = features_done = resumed = 0
    if known is not None and task.labelled and _is_prefix(known, examples.numbers[order], total):
        done = resumed = len(known)
        statistics.append(known.statistics[known.positions(examples.numbers[order[:done]])])
        features_done = len(features.of_examples(order[:done]))
    ends = schedule(total, _first_slice(encoder, features, total, seconds_to_first)) if slices else [total]
    before = None if len(ends) == 1 and not done else done
    forward = runner(encoder)
    if reuse is not None and isinstance(encoder, Encoder) and can_restart(encoder):
        forward = CachedRunner(encoder, reuse, int(features.lengths.sum()))
    for end in (end for end in ends if end > done):
        chosen = order[done:end]
        part, rows = features.of_examples(chosen), examples.subset(chosen)
        found = predict(encoder, task, part, _part_of(progress, features_done, len(features)), limits, forward)
        wanted = None if task.labelled else found if reference is None else reference.predictions_for(rows.numbers)
        if wanted is not None and len(wanted) != len(found):
            raise ValueError("the two models cut the texts into different windows, so they cannot be compared")
        statistics.append(task.statistics(found, part, rows, wanted))
        if not task.labelled:
            predictions += found
            owners.append(part.example + done)
        seen += found
        doubts = task.doubts(seen, features.of_examples(order[resumed:end])) if task.labelled else ()
        done, features_done = end, features_done + len(part)
        numbers = examples.numbers[order[:done]]
        found_so_far = _sorted(task, features, examples.split, numbers, statistics, predictions, owners, total)
        yield replace(found_so_far, before=before, notes=(*features.notes, *doubts))
        before = done


def _sorted(
    task: Task,
    features: Features,
    split: str,
    numbers: np.ndarray,
    statistics: Sequence[np.ndarray],
    predictions: Sequence[Any],
    owners: Sequence[np.ndarray],
    total: int,
) -> PerExampleResult:
    """By ascending number, so that a result does not depend on the order in which it was measured."""
    ascending = np.argsort(numbers, kind="stable")
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[ascending] = np.arange(len(numbers))
    kept: tuple[Any, ...] | None = None
    example: np.ndarray | None = None
    if owners:
        example = rank[np.concatenate(list(owners))]
        by_example = np.argsort(example, kind="stable")
        kept, example = tuple(predictions[i] for i in by_example), example[by_example]
    return PerExampleResult(
        metric=task.metric.name,
        split=split,
        numbers=numbers[ascending],
        statistics=np.concatenate(list(statistics))[ascending],
        total=total,
        truncated=features.truncated,
        mean_length=float(features.lengths.mean()),
        predictions=kept,
        feature_example=example,
    )


def _is_prefix(known: PerExampleResult, ordered: np.ndarray, total: int) -> bool:
    """Whether a result is of the first examples in this order."""
    n = len(known)
    return 0 < n < total == known.total and bool(np.array_equal(np.sort(ordered[:n]), known.numbers))


def _first_slice(encoder: Reader, features: Features, total: int, seconds: float) -> int:
    """As many examples as take so long at the throughput that was measured here, 64 at least."""
    throughput = throughput_of(encoder)
    if throughput is None or not isinstance(encoder, Encoder):
        return FIRST_SLICE
    tokens = float(features.lengths.sum()) / total
    return max(FIRST_SLICE, int(seconds / max(throughput.seconds(encoder, tokens), 1e-9)))


def representative_order(features: Features, examples: int, seed: int) -> np.ndarray:
    """A random order of which every prefix has the whole's shares of classes, or of lengths where it has none.

    Examples of a stratum with m members are put at (rank + u) / m, a random rank and one u in [0, 1).
    """
    generator = np.random.default_rng([seed, 64])
    strata = _strata(features, examples)
    place = np.empty(examples)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        place[members] = (generator.permutation(len(members)) + generator.random()) / len(members)
    return np.lexsort((generator.random(examples), place))


def _strata(features: Features, examples: int) -> np.ndarray:
    """(examples,) the gold class, or the quarter of lengths to which the first feature belongs."""
    first = np.searchsorted(features.example, np.arange(examples))
    targets = features.targets
    if targets is not None and all(isinstance(targets[i], int | np.integer) for i in first):
        return np.asarray([targets[i] for i in first])
    lengths = features.lengths[first]
    return np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)


def _part_of(progress: Progress, before: int, total: int) -> Progress:
    report = progress.report
    if report is None:
        return progress
    return Progress(lambda done, of, what: report(before + done, total, what), progress.cancel)


def _pack(predictions: Sequence[Any]) -> tuple[dict[str, np.ndarray], bool]:
    """Predictions (an array each, or a tuple of arrays each) as flat arrays with their shapes, slot by slot."""
    tuples = bool(predictions) and isinstance(predictions[0], tuple)
    rows = [p if tuples else (p,) for p in predictions]
    arrays: dict[str, np.ndarray] = {}
    for slot in range(len(rows[0]) if rows else 0):
        values = [np.asarray(row[slot]) for row in rows]
        arrays[f"prediction.{slot}"] = np.concatenate([v.ravel() for v in values])
        arrays[f"shape.{slot}"] = np.asarray([v.shape for v in values], dtype=np.int32).reshape(len(values), -1)
    return arrays, tuples


def _unpack(arrays: dict[str, np.ndarray], tuples: bool) -> tuple[Any, ...]:
    slots = []
    for slot in range(sum(name.startswith("shape.") for name in arrays)):
        shapes, flat = arrays[f"shape.{slot}"], arrays[f"prediction.{slot}"]
        ends = np.cumsum(shapes.astype(np.int64).prod(1))
        slots.append([part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)])
    return tuple(zip(*slots, strict=True)) if tuples else tuple(slots[0] if slots else ())
