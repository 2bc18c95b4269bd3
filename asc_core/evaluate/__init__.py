"""How good an encoder is on a task, how sure that is, and how fast it runs."""

from asc_core.evaluate.estimates import estimate, evaluate, evaluating
from asc_core.evaluate.latency import Latency, measure_latency
from asc_core.evaluate.measured import Measured, measure, measuring

__all__ = ["Latency", "Measured", "estimate", "evaluate", "evaluating", "measure", "measure_latency", "measuring"]
