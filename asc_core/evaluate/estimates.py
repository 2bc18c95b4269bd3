"""From what models did on each example to a metric, its interval, and the difference to the original."""

from __future__ import annotations

import math
from collections.abc import Iterator

from asc_core.batches import BatchLimits
from asc_core.errors import UserError
from asc_core.evaluate.intervals import difference_interval, value_interval
from asc_core.evaluate.per_example import PerExampleResult, measure, measuring
from asc_core.evaluate.prefix_cache import PrefixReuse
from asc_core.evaluate.sequential import alpha_spent
from asc_core.progress import Progress
from asc_core.tasks.base import Metric, Reader, Task
from asc_core.values import Estimate

_ORIGINAL = "The original: "  # what notes on the original begin with


def evaluate(
    encoder: Reader,
    task: Task,
    split: str = "validation",
    *,
    against: Reader | PerExampleResult | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
) -> Estimate:
    """The metric on a split, with a 95 % interval.

    Args:
        encoder: the model.
        task: what it is measured on; without labels quality is agreement with the original.
        split: train, validation or test, as far as the task has them.
        against: the original model, or its stored result on at least these examples; then the estimate has the paired
            difference to it. A task without labels needs it.
        limit: that many examples, drawn by seed; all by default.
        seed: of that draw, and of the order in which examples are measured.
        progress: told how far it is; may cancel.
        limits: of a batch; by default what was measured to be fast on this machine.

    Returns:
        The value, its interval, and with `against` the difference and its interval.

    Raises:
        UserError: where a task without labels is not given the original, and as `measure` does.
        Cancelled: within one batch.
    """
    _check(task, against)
    if against is not None and not isinstance(against, PerExampleResult):
        against = measure(against, task, split, limit=limit, seed=seed, progress=progress, limits=limits)
    reference = None if task.labelled else against
    measured = measure(
        encoder, task, split, reference=reference, limit=limit, seed=seed, progress=progress, limits=limits
    )
    return estimate(measured, task.metric, against)


def evaluating(
    encoder: Reader,
    task: Task,
    split: str = "validation",
    *,
    against: Reader | PerExampleResult | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
    reuse: PrefixReuse | None = None,
    stop_at_half_width: float | None = None,
) -> Iterator[Estimate]:
    """As `evaluate`, in estimates that tighten: after 64 examples at least, then after about twice as many each time.

    By default it ends after all examples, with the value that `evaluate` gives and a wider interval, since the
    intervals of all interim analyses are valid together, at 95 %, whenever one stops: see `sequential`.

    Args:
        against: as in `evaluate`. An original that is given as an encoder is measured first; give its stored result
            where the first estimate has to come at once.
        reuse: where to find and to keep hidden states that other cuts have in common with this one.
        stop_at_half_width: end as soon as the interval's half-width is at most this (0.03 = 3 percentage points): of
            the difference, or of the metric where there is no original.

    Raises: as `evaluate` does.
    """
    _check(task, against)
    if against is not None and not isinstance(against, PerExampleResult):
        against = measure(against, task, split, limit=limit, seed=seed, progress=progress, limits=limits)
    reference = None if task.labelled else against
    growing = measuring(
        encoder, task, split, reference=reference, limit=limit, seed=seed, progress=progress, limits=limits, reuse=reuse
    )
    for measured in growing:
        found = estimate(measured, task.metric, against)
        yield found
        if stop_at_half_width is not None and found.half_width <= stop_at_half_width:
            return


def estimate(measured: PerExampleResult, metric: Metric, against: PerExampleResult | None = None) -> Estimate:
    """What a result says of the metric, and of the difference to the original's on the same examples.

    The intervals of a result that was analysed before, in slices, are those of `sequential`.
    """
    alpha = alpha_spent(len(measured), measured.total, measured.before)
    statistics = measured.statistics
    difference = difference_ends = None
    value = metric.value(statistics)
    if not math.isfinite(value):
        raise UserError(
            f"The metric {metric.name} gives {value} on {len(measured)} {measured.split} examples: take more."
        )
    if against is not None:
        original = against.statistics[against.positions(measured.numbers)]
        difference = value - metric.value(original)
        difference_ends = difference_interval(metric, statistics, original, alpha)
    return Estimate(
        metric=metric.name,
        value=value,
        interval=value_interval(metric, statistics, alpha),
        split=measured.split,
        examples=len(measured),
        total=measured.total,
        difference=difference,
        difference_interval=difference_ends,
        truncated=measured.truncated,
        valid="single" if measured.before is None else "anytime",
        notes=(*measured.notes, *_of_original(measured, against)),
    )


def _of_original(measured: PerExampleResult, against: PerExampleResult | None) -> tuple[str, ...]:
    """What is to be said of the original alone."""
    notes = against.notes if against is not None else ()
    return tuple(f"{_ORIGINAL}{note}" for note in notes if note not in measured.notes)


def own_notes(found: Estimate) -> tuple[str, ...]:
    """Of what is noted on an estimate, that which is said of the model and not of the original."""
    return tuple(note for note in found.notes if not note.startswith(_ORIGINAL))


def _check(task: Task, against: Reader | PerExampleResult | None) -> None:
    if not task.labelled and against is None:
        raise UserError(
            f"The task {task.name} has no labels, so quality is agreement with the original model: say which one it is "
            "(`--against ORIGINAL`)."
        )
