"""Several metrics of what one model said."""

from __future__ import annotations

import numpy as np

from asc_core.evaluate import measure, measure_by_each
from asc_core.tasks.tagging import IntentSlots
from tests.evaluate.toy_tasks import encoder_for, toy_task


def test_several_metrics_from_one_pass_are_those_of_a_pass_each() -> None:
    task = toy_task("intent-slots", validation=70)
    assert isinstance(task, IntentSlots)
    encoder = encoder_for(task)
    tasks = [task.measured_by(name) for name in IntentSlots.METRICS]
    for found, one in zip(measure_by_each(encoder, tasks), tasks, strict=True):
        alone = measure(encoder, one)
        assert (found.metric, found.split, found.total) == (alone.metric, alone.split, alone.total)
        assert found.complete
        assert np.array_equal(found.numbers, alone.numbers)
        assert np.array_equal(found.statistics, alone.statistics)
