"""How good an encoder is on a task, how sure that is, and how fast it runs."""

from asc_core.evaluate.estimates import estimate, evaluate, evaluating, own_notes
from asc_core.evaluate.latency import Latency, measure_in_turns, measure_latency
from asc_core.evaluate.layer_times import known_layer_times, layer_times
from asc_core.evaluate.per_example import PerExampleResult, measure, measure_by_each, measuring

__all__ = [
    "Latency",
    "PerExampleResult",
    "estimate",
    "evaluate",
    "evaluating",
    "known_layer_times",
    "layer_times",
    "measure",
    "measure_by_each",
    "measure_in_turns",
    "measure_latency",
    "measuring",
    "own_notes",
]
