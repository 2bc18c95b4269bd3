"""What a repaired cut will take is a sum of ways through the layers, at the pace of this machine."""

from __future__ import annotations

import pytest

from asc_core.evaluate import seconds_ahead as module
from asc_core.evaluate import throughput
from asc_core.evaluate.seconds_ahead import FORWARDS_OF_CALIBRATION, FORWARDS_OF_REPAIR, pace_of, seconds_ahead
from asc_core.evaluate.throughput import layer_parameters
from tests.evaluate.toy_tasks import encoder_for, toy_task

ENCODER = encoder_for(toy_task("text-classification", validation=20))


def test_each_part_is_so_many_ways_of_its_tokens_through_the_layers() -> None:
    found = seconds_ahead(ENCODER, 0.5, 1000, 300, pace=1e-9, calibrated=False)
    forward = 1e-9 * layer_parameters(ENCODER)
    assert found.calibrating == pytest.approx(FORWARDS_OF_CALIBRATION * 1000 * forward)
    assert found.repairing == pytest.approx(FORWARDS_OF_REPAIR * 0.5 * 1000 * forward)
    assert found.evaluating == pytest.approx(0.5 * 300 * forward)
    again = seconds_ahead(ENCODER, 0.5, 1000, 300, pace=1e-9, calibrated=True)
    assert again.total == pytest.approx(found.total - found.calibrating)


def test_without_an_evaluation_the_pace_is_that_of_a_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    throughput.forget()
    seconds = iter([9.0, 0.5, 0.2, 0.4])
    monkeypatch.setattr(module, "seconds_of_pass", lambda *_: next(seconds))
    clock = iter([0.0, 0.1, 0.2, 1.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    tokens = module.PROBE_TEXTS * module.PROBE_TOKENS
    assert pace_of(ENCODER) == pytest.approx(0.2 / (tokens * layer_parameters(ENCODER)))
