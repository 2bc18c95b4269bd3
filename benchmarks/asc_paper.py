"""The table of the ASC paper (arXiv 2409.05368) on the checkpoints here: thresholds and baselines.

Part of `benchmarks.asc`. The checkpoint is the first fine-tuning; similarity, the cut and the second fine-tuning
follow. Size is the share of all parameters (of bytes, where weights are stored otherwise), speed-up the median of
passes in turns.
"""

from __future__ import annotations

import statistics as summary
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asc_core import modeling
from asc_core.compress.choose import CutBySimilarity
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate import PerExampleResult, measure_latency
from asc_core.loading import load_encoder
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.recipes import Recipe
from asc_core.values import Plan
from benchmarks.applications import Application
from benchmarks.outcomes import outcomes

THRESHOLDS = (0.90, 0.85, 0.80)
SPARSITY = 0.9
RANDOM_SEEDS = 5
OFF_THE_SHELF = (  # DistilBERT; BERT medium, mini and tiny: the paper's
    "distilbert/distilbert-base-uncased",
    "google/bert_uncased_L-8_H-512_A-8",
    "google/bert_uncased_L-4_H-256_A-4",
    "google/bert_uncased_L-2_H-128_A-2",
)
BATCH, TURNS = 32, 15


def rows(application: Application, shelf: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Uncut; each threshold; unstructured sparse + int8; half the layers at random, mean over seeds; smaller encoders.

    shelf: folders or hub ids of pre-trained encoders; one that cannot be had is named and left out.
    """
    name, task, dense = application.name, application.task, application.encoder
    work = application.file("ASC", 0.5, 0).parent
    metric = task.metric

    def row(what: str, model: Encoder, measured: list[PerExampleResult], size: float, **more: Any) -> dict[str, Any]:
        values = [metric.value(one.statistics) for one in measured]
        spread = round(summary.stdev(values), 4) if len(values) > 1 else None
        times = measure_latency({"original": dense, "cut": model}, task_cost_model(dense, task).lengths, BATCH, TURNS)
        found = {"task": name, "what": what, "value": round(summary.fmean(values), 4), "spread": spread}
        return found | {"size": round(size, 3), "speed_up": round(times["cut"].ratio, 2)} | more

    yield row("uncut", dense, outcomes(work / f"{name}-original.npz", lambda: [dense], task), 1.0)
    done: dict[tuple[int, ...], list[PerExampleResult]] = {}
    for threshold in THRESHOLDS:
        plan = CutBySimilarity(threshold=threshold, samples=512).plan(dense, task)
        gone = [layer + 1 for layer in range(plan.shape.layers) if layer not in plan.layers]
        more = {"removed": gone}
        small = dense.cut(plan)
        if not gone:
            yield row(f"ASC {threshold:.2f}", dense, outcomes(work / f"{name}-original.npz", list, task), 1.0, **more)
            continue
        file = work / f"{name}-ASC-without-{'-'.join(map(str, gone))}.npz"
        if plan.layers not in done:
            done[plan.layers] = outcomes(file, lambda: [_recovered(application, plan, work)], task)  # noqa: B023
        yield row(f"ASC {threshold:.2f}", small, done[plan.layers], small.parameters / dense.parameters, **more)
    sparse = sparse_int8(dense)
    file = work / f"{name}-sparse-int8.npz"
    yield row("90 % sparse + int8", sparse, outcomes(file, lambda: [sparse], task), _stored(dense))
    half = Plan.full(dense.shape)
    for layer in range(dense.shape.layers // 2):
        half = half.drop(layer)
    small = dense.cut(half)
    measured = application.measured("random", 0.5, RANDOM_SEEDS, only_read=False)
    yield row("random half of the layers", small, measured, small.parameters / dense.parameters, seeds=len(measured))
    for source in shelf:
        try:
            other = load_encoder(source)
        except UserError as error:
            print(f"{source} is left out: {error}", flush=True)
            continue
        called = Path(source).name
        file = work / f"{name}-off-the-shelf-{called}.npz"
        measured = outcomes(file, lambda: [_fine_tuned(application, other, called, work)], task)  # noqa: B023
        yield row(called, other, measured, other.parameters / dense.parameters)


def _fine_tuned(application: Application, other: Encoder, called: str, work: Path) -> Encoder:
    """As the checkpoint was, and Sajjad's cut encoder is."""
    *_, whole = application.recipe("Sajjad", 0.5, 0)[1].steps
    folder = work / "recipes" / f"{application.name}-{called}"
    return Recipe((whole,)).apply(other, application.task, folder=folder)


def _recovered(application: Application, plan: Plan, work: Path) -> Encoder:
    """Cut and fine-tuned again, as the other recipes are."""
    again = application.recipe("ASC", 0.5, 0)[1].steps[1:]
    recipe = Recipe((*Recipe.of(plan).steps, *again))
    return recipe.apply(application.encoder, application.task, folder=work / "recipes" / f"{application.name}-paper")


def sparse_int8(encoder: Encoder) -> Encoder:
    """The layers' weights less the 90 % of each that are nearest to 0, and all linears in torch's dynamic int8."""
    from torch.ao.quantization import quantize_dynamic

    made = encoder.copy()
    with torch.no_grad():
        for row in modeling.rows_of(made.model):
            for module in row.modules():
                if isinstance(module, nn.Linear):
                    size = module.weight.abs()
                    module.weight[size < size.flatten().kthvalue(int(SPARSITY * size.numel())).values] = 0
    for module in made.model.modules():  # quantization copies hooks, but not that they take keyword arguments
        for name in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_forward_hooks_with_kwargs",
            "_forward_pre_hooks_with_kwargs",
        ):
            getattr(module, name).clear()
    made.model = quantize_dynamic(made.model, {nn.Linear}, dtype=torch.qint8)
    return made


def _stored(encoder: Encoder) -> float:
    """Share of the bytes: of the layers' weights a tenth at one byte and a bit for every place, the rest at four."""
    layers = encoder.parameters - encoder.part_counts.outside_layers
    return ((1 - SPARSITY) * layers + layers / 8 + 4 * (encoder.parameters - layers)) / (4 * encoder.parameters)
