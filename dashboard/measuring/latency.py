"""Latency on this machine: of a recipe's model beside the original, and of layers by their widths."""

from __future__ import annotations

from collections.abc import Callable

from asc_core.encoder import Encoder
from asc_core.evaluate import layer_times, measure_latency
from asc_core.evaluate.layer_times import known_layer_times
from asc_core.plan import CostModel, LatencyTable
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.study import Study
from dashboard.background.jobs import Job
from dashboard.measuring.build import build, cut_decides
from dashboard.measuring.measurements import TRAINING, Measurements
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from dashboard.state.speed import Speed

BATCH, TURNS = 32, 15


def speed_of(measurements: Measurements, recipe: Recipe) -> Speed | None:
    """None where it was not measured, and of the original itself."""
    return kept.speed(measurements.study, measurements.weights, measurements.application, _timed(recipe)).get()


def speed_key(measurements: Measurements, recipe: Recipe) -> str:
    """What a job that measures it is about."""
    return f"{measurements.study.path.absolute()}|{measurements.application.name}|speed|{_timed(recipe)}"


def _timed(recipe: Recipe) -> str:
    """What a speed is kept under: the plan where the cut decides it, so that all repairs of it have one."""
    return recipe.cut.key if recipe.cut is not None and cut_decides(recipe.steps) else recipe.key


def speed_job(measurements: Measurements, recipe: Recipe) -> Callable[[Job], Speed]:
    """The model and the original in turns, so that whatever slows the machine slows both."""

    def work(job: Job) -> Speed:
        encoder = measurements.models.encoder(measurements.application)
        found = measure_latency(
            {"original": encoder, "cut": _model(measurements, recipe, job.progress)},
            measurements.cost_model.lengths,
            batch_size=BATCH,
            repeats=TURNS,
            progress=job.progress,
        )
        speed = Speed(found["original"].median, found["cut"].ratio, found["cut"].batch_size)
        kept.speed(measurements.study, encoder.weights, measurements.application, _timed(recipe)).set(speed)
        return speed

    return work


def _model(measurements: Measurements, recipe: Recipe, progress: Progress) -> Encoder:
    """The recipe's, or one of its cost."""
    if recipe.cut is not None and cut_decides(recipe.steps):
        return measurements.models.encoder(measurements.application).cut(recipe.cut)
    folder = measurements.study.path / TRAINING
    return build(measurements.models, measurements.application, recipe, progress, folder).encoder


def layer_times_job(
    models: LoadedModels, study: Study, application: Application, runtime: str = "torch"
) -> Callable[[Job], LatencyTable]:
    """How long layers take on this machine in a runtime, by their widths; kept in the study."""

    def work(job: Job) -> LatencyTable:
        lengths = models.cost_model(application).lengths
        encoder = models.encoder(application)
        return layer_times(encoder, lengths, BATCH, runtime=runtime, study=study, progress=job.progress)

    return work


def with_known_times(
    models: LoadedModels, study: Study, application: Application, costs: CostModel, runtime: str = "torch"
) -> CostModel | None:
    """The cost model with this machine's layer times in a runtime, None where they have not been measured yet."""
    encoder = models.cached_encoder(application)
    if encoder is None:
        return None
    table = known_layer_times(encoder, costs.lengths, BATCH, study, runtime)
    return costs.with_latency(table) if table is not None else None
