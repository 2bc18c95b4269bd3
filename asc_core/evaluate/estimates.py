"""From what models did on each example to a metric, its interval, and the difference to the original."""

from __future__ import annotations

from collections.abc import Iterator

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.batches import BatchLimits
from asc_core.evaluate.intervals import difference_interval, value_interval
from asc_core.evaluate.measured import Measured, measure, measuring
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
) -> Iterator[Estimate]:
    """The same as estimates that tighten: after 64 examples, then after twice as many each time, at last after all.

    An original that is given as an encoder is measured first; give its stored outcome where the first estimate has to
    come at once. The last estimate is what `evaluate` gives. Each interval is that of a single look: whoever stops at
    the first one that pleases is less sure than it says.
    """
    _check(task, against)
    if isinstance(against, Encoder):
        against = measure(against, task, split, limit=limit, seed=seed, progress=progress, limits=limits)
    reference = None if task.labelled else against
    growing = measuring(
        encoder, task, split, reference=reference, limit=limit, seed=seed, progress=progress, limits=limits
    )
    for measured in growing:
        yield estimate(measured, task.metric, against)


def estimate(measured: Measured, metric: Metric, against: Measured | None = None) -> Estimate:
    """What an outcome says of the metric, and of the difference to the original's on the same examples."""
    statistics = measured.statistics
    difference = difference_ends = None
    value = metric.value(statistics)
    if against is not None:
        original = against.statistics[against.positions(measured.numbers)]
        difference = value - metric.value(original)
        difference_ends = difference_interval(metric, statistics, original)
    return Estimate(
        metric=metric.name,
        value=value,
        interval=value_interval(metric, statistics),
        split=measured.split,
        examples=len(measured),
        total=measured.total,
        difference=difference,
        difference_interval=difference_ends,
        truncated=measured.truncated,
    )


def _check(task: Task, against: Encoder | Measured | None) -> None:
    if not task.labelled and against is None:
        raise UserError(
            f"The task {task.name} has no labels, so quality is agreement with the original model: say which one it is "
            "(`--against ORIGINAL`)."
        )
