"""Every family of compression alone and together: bytes, FLOPs and points lost, beside a library's or paper's own way.

    python -m benchmarks.families                                 SICK and MRPC
    python -m benchmarks.families --full                          also CLINC150 and a sample of SQuAD
    python -m benchmarks.families minilm-sick --only int4 factor  some of it
    python -m benchmarks.families --collect                       the report of all that was measured so far

The checkpoints in ../shared/models. Everything is chosen on training and validation texts; each model is then run once
on the fixed test split and compared with the original, paired by example. bytes: of the weights as they are stored, a
share of the original's in float32. What a model did is kept in build/families, so that a killed
run goes on. Families whose step this version does not have are left out, and said.

The last line is one JSON object, kept in benchmarks/results/families.json:
cells           application, name, family, bytes, mb, flops, metric, lost, interval (95 %), against, ahead (points that
                it keeps more than what it is compared with), ahead_interval
families        each alone, means over applications, beside what it is compared with
int8_lost, int4_lost, int8_half_lost, bytes_12_lost, bytes_8_lost, bytes_5_trained_lost    means of points lost, None
                where a model came out larger than its budget (beyond_budget)
fastest_at_1_point    share of the original's time in torch, of the same run (results/deploy.json), None before it ran
tickets               results/tickets.json, None before it was measured
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import prune

import asc_core
from asc_core import modeling
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.evaluate import PerExampleResult, measure
from asc_core.export import FORMATS, PACKINGS
from asc_core.export.tokenizer_files import write_tokenizer
from asc_core.plan.encoder_cost import task_lengths
from asc_core.recipes import Recipe
from asc_core.recipes.allocation import Bound
from asc_core.recipes.allocation_search import Allocator
from asc_core.recipes.registry import STEPS, parse_step
from asc_core.runtimes import SessionReader, session
from asc_core.values import Plan
from benchmarks.machine import RESULTS, keep
from benchmarks.outcomes import difference_interval, outcomes, store
from benchmarks.subject import Subject
from benchmarks.trust import available

WORK = Path("build/families")
NAMES = ("minilm-sick", "minilm-mrpc")
FULL = (*NAMES, "minilm-clinc150", "minilm-squad")
STEPS_OF_TRAINING = 200
HALF = {"step": "cut-to-budget", "method": "obs", "keep": 0.5}
INT8 = {"step": "quantize", "activations": "none", "choose": False}
INT4 = {"step": "quantize", "bits": 4, "rounding": "second-order", "levels": "k-means", "choose": False}
SHARED = {"step": "share", "keep": 4, "weights": "fitted", "differences": 64}
LEARN = {"step": "distil", "steps": STEPS_OF_TRAINING, "patience": None}


@dataclass(frozen=True)
class Cell:
    """steps: of a recipe. budget: share of the bytes that is fitted instead, trained or not. own: what a library makes
    of the encoder; onnx: whether that is a graph. against: the cell that it is compared with."""

    family: str
    steps: tuple[dict[str, Any], ...] = ()
    budget: float = 0.0
    trained: bool = False
    own: Callable[[Encoder], Encoder] | None = None
    onnx: bool = False
    against: str = ""

    @property
    def lacking(self) -> str:
        """The step, or its field, that this version does not have."""
        for step in self.steps:
            kind = STEPS.get(step["step"])
            if kind is None:
                return str(step["step"])
            unknown = [name for name in step if name != "step" and name not in kind.model_fields]
            if unknown:
                return f"{step['step']} with {unknown[0]}"
        return ""


def magnitude_pruned(encoder: Encoder) -> Encoder:
    """Half of the weights of all the layers' matrices, by torch.nn.utils.prune."""
    made = encoder.copy()
    found = [m for row in modeling.factorable(made.model, "all") for m in row.values()]
    parameters = [(module, "weight") for module in {id(module): module for module in found}.values()]
    prune.global_unstructured(parameters, pruning_method=prune.L1Unstructured, amount=0.5)
    for module, name in parameters:
        prune.remove(module, name)
    return made


def every_other_layer(encoder: Encoder) -> Encoder:
    """As DistilBERT begins (1910.01108, section 3): one layer out of two."""
    plan = Plan.full(encoder.shape)
    for layer in range(1, encoder.shape.layers, 2):
        plan = plan.drop(layer=layer)
    return encoder.cut(plan)


CELLS = {
    "int8": Cell("quantization", (INT8,), against="int8, onnxruntime's own"),
    "int8, onnxruntime's own": Cell("quantization", onnx=True),
    "int4": Cell("quantization", (INT4,), against="int4, rounded to nearest"),
    "int4, rounded to nearest": Cell("quantization", ({**INT4, "rounding": "nearest", "levels": "even"},)),
    "int3": Cell("quantization", ({**INT4, "bits": 3},), against="int3, rounded to nearest"),
    "int3, rounded to nearest": Cell("quantization", ({**INT4, "bits": 3, "rounding": "nearest", "levels": "even"},)),
    "half of the weights": Cell(
        "weight pruning", ({"step": "sparsify", "share": 0.5, "by": "second-order"},), against="half, torch's own"
    ),
    "half, torch's own": Cell("weight pruning", own=magnitude_pruned),
    "factors": Cell(
        "decomposition", ({"step": "factor", "keep": 0.5, "nearest": "outputs"},), against="factors, plain SVD"
    ),
    "factors, plain SVD": Cell("decomposition", ({"step": "factor", "keep": 0.5},)),
    "half of the FLOPs": Cell("pruning", (HALF,), against="every other layer"),
    "every other layer": Cell("pruning", own=every_other_layer),
    "half, distilled": Cell("distillation", (HALF, LEARN), against="every other layer, distilled"),
    "every other layer, distilled": Cell("distillation", (LEARN,), own=every_other_layer),
    "shared layers, fitted, with differences": Cell("sharing", (SHARED,), against="shared layers, their mean"),
    "shared layers, their mean": Cell("sharing", ({"step": "share", "keep": 4, "weights": "mean"},)),
    "fewer tokens": Cell("tokens", ({"step": "eliminate-tokens", "keep": 0.7},)),
    "early exit": Cell("tokens", ({"step": "early-exit"},)),
    "shorter vocabulary": Cell("vocabulary", ({"step": "vocabulary", "margin": 2000},)),
    "int8 and half of the FLOPs": Cell("together", (HALF, INT8)),
    "12.5 % of the bytes": Cell("together", budget=0.125),
    "8 % of the bytes": Cell("together", budget=0.08),
    "5 % of the bytes": Cell("together", budget=0.05),
    "5 % of the bytes, trained": Cell("together", budget=0.05, trained=True),
}
MEANS = {
    "int8_lost": "int8",
    "int4_lost": "int4",
    "int8_half_lost": "int8 and half of the FLOPs",
    "bytes_12_lost": "12.5 % of the bytes",
    "bytes_8_lost": "8 % of the bytes",
    "bytes_5_trained_lost": "5 % of the bytes, trained",
}


@dataclass
class Application(Subject):
    """With its cells."""

    @cached_property
    def work(self) -> Path:
        folder = WORK / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def bytes(self) -> int:
        """Of the original in float32; the checkpoints lie in half of that."""
        return modeling.count(self.encoder.model, "float32").bytes

    @cached_property
    def dense(self) -> PerExampleResult:
        return self._outcome("the original", lambda: self._measured(self.encoder))

    def cell(self, name: str) -> dict[str, Any]:
        """Read where it was measured."""
        facts = self.work / f"{_file(name)}.json"
        if not facts.exists():
            facts.write_text(json.dumps(self._make(name)), encoding="utf-8")
        return {"application": self.name, "name": name, **json.loads(facts.read_text(encoding="utf-8"))}

    def _make(self, name: str) -> dict[str, Any]:
        cell = CELLS[name]
        if cell.onnx:
            outcome, size = self._by_onnxruntime()
            self._outcome(name, lambda: outcome)
            return self._said(name, size, self.encoder.cost(self._lengths).flops)
        made, recipe = self._model(cell)
        self._outcome(name, lambda: self._measured(made))
        cost = made.cost(self._lengths)
        return self._said(name, cost.bytes, cost.flops) | ({"recipe": recipe.to_json()} if recipe else {})

    def _said(self, name: str, size: float, flops: float) -> dict[str, Any]:
        dense = self.encoder.cost(self._lengths)
        own = self._outcome(name, lambda: None).statistics
        low, high = difference_interval(self.dense.statistics, own, self.task)
        metric = self.task.metric.value
        return {
            "family": CELLS[name].family,
            "bytes": round(size / self.bytes, 4),
            "mb": round(size / 1e6, 3),
            "flops": round(flops / dense.flops, 4),
            "metric": round(100 * metric(own), 2),
            "lost": round(100 * (metric(self.dense.statistics) - metric(own)), 3),
            "interval": [round(100 * low, 2), round(100 * high, 2)],
            "examples": len(own),
        }

    def _model(self, cell: Cell) -> tuple[Encoder, Recipe | None]:
        if cell.budget:
            recipe = self._fitted(cell)
        else:
            recipe = Recipe(tuple(parse_step(step, "benchmarks.families") for step in cell.steps))
        encoder = cell.own(self.encoder) if cell.own else self.encoder
        if not recipe.steps:
            return encoder, None
        if cell.own:  # the teacher is the original
            (learn,) = recipe.steps
            return learn.apply(encoder, StepContext(self.task, self.encoder)), None
        return recipe.apply(encoder, self.task, calibrations=self.calibrations), recipe

    def _fitted(self, cell: Cell) -> Recipe:
        allocator = Allocator(
            self.encoder,
            self.task,
            Bound("bytes", cell.budget * self.bytes),
            steps=STEPS_OF_TRAINING if cell.trained else 0,
            study=asc_core.Study.open(self.work / "study"),
            calibrations=self.calibrations,
        )
        *_, made = allocator.search(most=3)
        best = next((one for one in made if one.trained), made[0]) if cell.trained else made[0]
        print(f"{self.name}, {cell.budget:.1%} of the bytes: {best.title}", flush=True)
        return best.recipe

    def _by_onnxruntime(self) -> tuple[PerExampleResult, int]:
        """quantize_dynamic with a scale for each channel, as its documentation says, on our graph in float32."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            FORMATS["onnx"].write(self.encoder, folder, PACKINGS["float32"])
            write_tokenizer(self.encoder.tokenizer, folder, self.encoder.type_vocab_size > 1)
            graph = folder / "model.onnx"
            quantize_dynamic(graph, folder / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
            (folder / "int8.onnx").replace(graph)
            loaded = session(folder, "onnxruntime", torch.get_num_threads())
            return self._measured(SessionReader(loaded, self.encoder)), graph.stat().st_size

    def _measured(self, model: Any) -> PerExampleResult:
        return measure(model, self.task, "test")

    def _outcome(self, name: str, build: Callable[[], PerExampleResult | None]) -> PerExampleResult:
        file = self.work / f"{_file(name)}.npz"
        if not file.exists():
            found = build()
            assert found is not None
            store(file, [found])
        return outcomes(file, list, self.task)[0]

    def compared(self, cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """With what each is to be compared with, where both were measured."""
        known = {cell["name"] for cell in cells}
        found = []
        for cell in cells:
            against = CELLS[cell["name"]].against
            if against in known:
                mine, theirs = (self._outcome(name, lambda: None).statistics for name in (cell["name"], against))
                low, high = difference_interval(mine, theirs, self.task)
                metric = self.task.metric.value
                ahead = {"ahead": round(100 * (metric(mine) - metric(theirs)), 3)}
                cell = {**cell, "against": against, **ahead}
                cell["ahead_interval"] = [round(100 * low, 2), round(100 * high, 2)]
            found.append(cell)
        return found

    @cached_property
    def _lengths(self) -> np.ndarray:
        return task_lengths(self.encoder, self.task)


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def report(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(cell["name"] for cell in cells))
    families = []
    for name in names:
        of = [cell for cell in cells if cell["name"] == name]
        means = {key: round(float(np.mean([cell[key] for cell in of])), 3) for key in ("bytes", "flops", "lost")}
        line = {"name": name, "family": of[0]["family"], "applications": len(of), **means}
        ahead = [cell["ahead"] for cell in of if "ahead" in cell]
        if ahead:
            line |= {"against": CELLS[name].against, "ahead": round(float(np.mean(ahead)), 3)}
        families.append(line)
    beyond = sorted({c["name"] for c in cells if CELLS[c["name"]].budget and c["bytes"] > CELLS[c["name"]].budget})
    lost = {one["name"]: one["lost"] for one in families if one["name"] not in beyond}
    return {
        "left_out": {name: cell.lacking for name, cell in CELLS.items() if cell.lacking},
        "beyond_budget": beyond,
        "cells": list(cells),
        "families": families,
        **{key: lost.get(name) for key, name in MEANS.items()},
        "fastest_at_1_point": fastest(),
        "tickets": _kept("tickets"),
    }


def fastest() -> float | None:
    """Of the variants that lose at most 1 point, mean over applications: the least share of dense torch's time."""
    known = _kept("deploy")
    speedups = [one["speedup"] for one in known["means"] if one["lost"] <= 1.0] if known else []
    return round(1 / max(speedups), 4) if speedups else None


def _kept(name: str) -> Any:
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FULL)}; default: {', '.join(NAMES)}")
    parser.add_argument("--full", action="store_true", help="all applications")
    parser.add_argument("--only", nargs="+", choices=CELLS, metavar="CELL", help="some cells")
    parser.add_argument("--collect", action="store_true", help="measure nothing anew")
    options = parser.parse_args()
    names = options.names or (FULL if options.full or options.collect else NAMES)
    wanted = [name for name in options.only or CELLS if not CELLS[name].lacking]
    cells = []
    for name in names:
        if name not in available():
            print(f"{name} is not here and left out", file=sys.stderr)
            continue
        application = Application(name, WORK)
        found = []
        for cell in wanted:
            if options.collect and not (application.work / f"{_file(cell)}.json").exists():
                continue
            found.append(application.cell(cell))
            print(json.dumps({key: value for key, value in found[-1].items() if key != "recipe"}), flush=True)
        cells += application.compared(found)
    if not cells:
        raise SystemExit("nothing was measured yet")
    result = report(cells)
    if not options.only and not options.names:
        keep("families", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
