"""From what models did on each example to a metric, its interval, and the difference to the original."""

from __future__ import annotations

from collections.abc import Iterator

from asc_core.batches import BatchLimits
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.intervals import difference_interval, value_interval
from asc_core.evaluate.looks import alpha_of_look
from asc_core.evaluate.measured import Measured, measure, measuring
from asc_core.evaluate.reuse import Reuse
from asc_core.progress import Progress
from asc_core.tasks.base import Metric, Task
from asc_core.values import Estimate


def evaluate(
    encoder: Encoder,
    task: Task,
    split: str = "validation",
    *,
    against: Encoder | Measured | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
) -> Estimate:
    """The metric on a split, with a 95 % interval.

    against: the original model, or its stored outcome on at least these examples; then the estimate has the paired
    difference to it. A task without labels needs it. limit: that many examples, drawn by seed.
    Raises: UserError where a task without labels is not given the original, and as `measure` does; Cancelled within
    one batch.
    """
    _check(task, against)
    if isinstance(against, Encoder):
        against = measure(against, task, split, limit=limit, seed=seed, progress=progress, limits=limits)
    reference = None if task.labelled else against
    measured = measure(
        encoder, task, split, reference=reference, limit=limit, seed=seed, progress=progress, limits=limits
    )
    return estimate(measured, task.metric, against)


def evaluating(
    encoder: Encoder,
    task: Task,
    split: str = "validation",
    *,
    against: Encoder | Measured | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    limits: BatchLimits | None = None,
    reuse: Reuse | None = None,
    within: float | None = None,
) -> Iterator[Estimate]:
    """The same as estimates that tighten: soon (after 64 examples at least), then after about twice as many each
    time: see `looks_at`.

    An original that is given as an encoder is measured first; give its stored outcome where the first estimate has to
    come at once. within: end as soon as the interval reaches at most so far to either side (0.03 = 3 points): that of
    the difference, or of the metric where there is no original. By default it ends after all examples, with the value
    that `evaluate` gives and a wider interval, since the intervals of all looks are right together, at 95 %, whenever
    one stops: see `looks`.
    """
    _check(task, against)
    if isinstance(against, Encoder):
        against = measure(against, task, split, limit=limit, seed=seed, progress=progress, limits=limits)
    reference = None if task.labelled else against
    growing = measuring(
        encoder, task, split, reference=reference, limit=limit, seed=seed, progress=progress, limits=limits, reuse=reuse
    )
    for measured in growing:
        found = estimate(measured, task.metric, against)
        yield found
        if within is not None and found.half_width <= within:
            return


def estimate(measured: Measured, metric: Metric, against: Measured | None = None) -> Estimate:
    """What an outcome says of the metric, and of the difference to the original's on the same examples.

    The intervals of an outcome that was looked at before, in slices, are those of `looks`.
    """
    alpha = alpha_of_look(len(measured), measured.total, measured.before)
    statistics = measured.statistics
    difference = difference_ends = None
    value = metric.value(statistics)
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
    )


def _check(task: Task, against: Encoder | Measured | None) -> None:
    if not task.labelled and against is None:
        raise UserError(
            f"The task {task.name} has no labels, so quality is agreement with the original model: say which one it is "
            "(`--against ORIGINAL`)."
        )
