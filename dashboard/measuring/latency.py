"""Latency on this machine: of a cut beside the original, and of layers by their widths."""

from __future__ import annotations

from collections.abc import Callable

from asc_core.evaluate import layer_times, measure_latency
from asc_core.evaluate.layer_times import known_layer_times
from asc_core.plan import CostModel, LatencyTable
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.background.jobs import Job
from dashboard.measuring.measurements import Measurements
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from dashboard.state.speed import Speed

BATCH, TURNS = 32, 15


def speed_of(measurements: Measurements, plan: Plan) -> Speed | None:
    """None where it was not measured, and of the original itself."""
    return kept.speed(measurements.study, measurements.weights, measurements.application, plan.key).get()


def speed_key(measurements: Measurements, plan: Plan) -> str:
    """What a job that measures it is about."""
    return f"{measurements.study.path.absolute()}|{measurements.application.name}|speed|{plan.key}"


def speed_job(measurements: Measurements, plan: Plan) -> Callable[[Job], Speed]:
    """The cut and the original in turns, so that whatever slows the machine slows both."""

    def work(job: Job) -> Speed:
        encoder = measurements.models.encoder(measurements.application)
        found = measure_latency(
            {"original": encoder, "cut": encoder.cut(plan)},
            measurements.cost_model.lengths,
            batch_size=BATCH,
            repeats=TURNS,
            progress=job.progress,
        )
        speed = Speed(found["original"].median, found["cut"].ratio, found["cut"].batch_size)
        kept.speed(measurements.study, encoder.weights, measurements.application, plan.key).set(speed)
        return speed

    return work


def layer_times_job(models: LoadedModels, study: Study, application: Application) -> Callable[[Job], LatencyTable]:
    """How long layers take on this machine, by their widths; kept in the study."""

    def work(job: Job) -> LatencyTable:
        lengths = models.cost_model(application).lengths
        return layer_times(models.encoder(application), lengths, BATCH, study=study, progress=job.progress)

    return work


def with_known_times(
    models: LoadedModels, study: Study, application: Application, costs: CostModel
) -> CostModel | None:
    """The cost model with this machine's layer times, None where they have not been measured yet."""
    encoder = models.cached_encoder(application)
    if encoder is None:
        return None
    table = known_layer_times(costs.shape, costs.lengths, BATCH, encoder.device, study)
    return costs.with_latency(table) if table is not None else None
