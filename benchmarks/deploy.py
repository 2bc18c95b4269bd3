"""What to deploy: cut x int8 x vocabulary in torch, ONNX Runtime and OpenVINO, in MB, milliseconds and points.

    python -m benchmarks.deploy                         all four applications
    python -m benchmarks.deploy minilm-sick --turns 3 --limit 64 --corruptions 8      a quick look
    python -m benchmarks.deploy --collect               the report of all that was measured so far

The demo's nli and the checkpoints in ../shared/models. A cut keeps half the encoder's FLOPs (plan by `obs`, sequential
repair, nothing trained); vocabulary is the step `vocabulary` (with a margin of general tokens where validation says
that used tokens alone cost more, see `MARGINS`), int8 the step `quantize` as the runtime takes it, applied in this
order; torch has no int8 cells, since it multiplies no integers. Every model is exported, reloaded by its runtime, and
from then on only the folder counts. mb: 10^6 bytes of its weights and its tokenizer. lost: points of the metric that
dense torch has and this folder's own answers in its runtime do not, on the fixed test split, paired by example; one
number of texts in a batch for all. ms: medians of turns, all models of an application in turns in one process, by
batch x tokens and threads. Each application's part is kept in build/deploy as it is done, and a killed run goes on from
there.

The last line is one JSON object, kept in benchmarks/results/deploy.json where nothing was left out:
cells               checkpoint, kept, int8, vocabulary, runtime, mb, ms, speedup (to dense torch in the same turns),
                    lost, lost_interval (95 %)
best_at_1_point     of the variants that lose at most 1 point, mean over applications: the fastest at batch 1 x 128 on
                    one thread among those of at most 9 MB, or the smallest where none is so small; mb and speedup are
                    means
best_at_2_points    the smallest that loses at most 2 points
int8_worst_lost     the most points that int8 costs beyond the same model in float32, over all cells
int8_slower         cells in which int8 is slower than float32 in the same runtime, by batch x tokens and threads
corruptions_caught  of 200 that were planted in an exported folder
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import asc_core
from asc_core.atomic_folder import new_folder
from asc_core.batches import BatchLimits
from asc_core.compress.vocabulary import Vocabulary
from asc_core.encoder import Encoder
from asc_core.evaluate import PerExampleResult, measure
from asc_core.evaluate.speeds import speeds
from asc_core.export import FORMATS, PACKINGS
from asc_core.export.tokenizer_files import write_tokenizer
from asc_core.plan import by_budget
from asc_core.recipes import Recipe
from asc_core.recipes.deployment_search import megabytes
from asc_core.recipes.int8 import int8_step
from asc_core.runtimes import RUNTIMES, SessionReader, installed, session
from asc_core.values import Plan
from benchmarks.corruptions import COUNT, caught
from benchmarks.machine import keep, machine
from benchmarks.outcomes import difference_interval, outcomes, store
from benchmarks.subject import Subject
from benchmarks.trust import available

WORK = Path("build/deploy")
NAMES = ("demo:nli", "minilm-sick", "minilm-clinc150", "minilm-squad")
SAMPLES = 1024
KEPT = (1.0, 0.5)
KEPT_OF_THE_SMALLEST = 0.35  # with int8 and the shorter vocabulary alone: what two points may buy
SIZES = ((1, 24), (1, 128), (32, 24))
THREADS = (1, 2)
TURNS = 15
REACH = "1x128, 1 thread"
MB, POINTS = 9.0, (1.0, 2.0)
LIMITS = BatchLimits(32, 1024, 0)  # the same batches in all runtimes: dynamic int8 depends on what stands together
MARGINS = {"demo:nli": 8000, "minilm-squad": 8000}  # chosen on validation (results/vocabulary.json); others none


@dataclass(frozen=True)
class Variant:
    """kept: of the encoder's FLOPs."""

    kept: float
    int8: bool
    vocabulary: bool

    @property
    def name(self) -> str:
        return f"{self.kept:g}{'-int8' * self.int8}{'-vocabulary' * self.vocabulary}"

    @property
    def in_float32(self) -> Variant:
        return Variant(self.kept, False, self.vocabulary)


DENSE = Variant(1.0, False, False)


def variants(kept: Sequence[float] = KEPT) -> Iterator[Variant]:
    """Dense first."""
    for chosen in product(kept, (False, True), (False, True)):
        yield Variant(*chosen)
    yield Variant(KEPT_OF_THE_SMALLEST, True, True)


def places() -> list[tuple[Variant, str]]:
    """Variants and where they run. torch multiplies no integers: int8 takes bytes there and no time."""
    return [
        (variant, runtime)
        for variant in variants()
        for runtime in installed()
        if not (variant.int8 and runtime == "torch")
    ]


@dataclass
class Application(Subject):
    """With its variants."""

    options: argparse.Namespace

    @cached_property
    def work(self) -> Path:
        limit = f"-{self.options.limit}" if self.options.limit else ""
        margin = f"-margin-{self.margin}" if self.margin else ""
        return WORK / f"{self.name.replace(':', '-')}{limit}{margin}"

    @property
    def margin(self) -> int:
        return MARGINS.get(self.name, 0) if self.options.margin is None else int(self.options.margin)

    @cached_property
    def scores(self) -> Any:
        study = asc_core.Study.open(self.work / "study")
        return asc_core.score(self.encoder, self.task, ["obs"], samples=self.options.samples, study=study)["obs"]

    @cached_property
    def made(self) -> dict[tuple[Variant, str], Encoder]:
        return {}

    def model(self, variant: Variant, runtime: str) -> Encoder:
        """Kept until the next application: four folders and an intermediate step may be of one."""
        key = (variant, runtime if variant.int8 else "")
        if key not in self.made:
            self.made[key] = self._make(variant, runtime)
        return self.made[key]

    def _make(self, variant: Variant, runtime: str) -> Encoder:
        if variant == DENSE:
            return self.encoder
        if variant.int8:  # as the runtime takes it
            before = self.model(variant.in_float32, runtime)
            return Recipe((int8_step(RUNTIMES[runtime].form or "compact", choose=True),)).apply(before, self.task)
        if variant.vocabulary:
            before = self.model(Variant(variant.kept, False, False), runtime)
            return Recipe((Vocabulary(margin=self.margin),)).apply(before, self.task)
        return Recipe.repaired(self.plan(variant.kept), samples=self.options.samples).apply(
            self.encoder, self.task, calibrations=self.calibrations
        )

    def plan(self, kept: float) -> Plan:
        path = self.work / f"plan-{kept:g}.json"
        if not path.exists():
            by_budget(self.scores, asc_core.task_cost_model(self.encoder, self.task), kept).save(path)
        return Plan.load(path)

    def folder(self, variant: Variant, runtime: str) -> Path:
        """The model as it leaves for that runtime, written where it is not there yet."""
        out = self.work / variant.name / runtime
        if not out.exists():
            encoder = self.model(variant, runtime)
            with new_folder(out) as folder:
                FORMATS[RUNTIMES[runtime].form or "compact"].write(encoder, folder, PACKINGS["float32"])
                write_tokenizer(encoder.tokenizer, folder, encoder.type_vocab_size > 1)
            print(f"{self.name} {variant.name} for {runtime}: {megabytes(out):.1f} MB", flush=True)
        return out

    def answers(self, variant: Variant, runtime: str) -> PerExampleResult:
        """Of the folder in its runtime, on the test split."""
        file = self.work / f"{variant.name}-{runtime}.npz"
        if not file.exists():
            loaded = session(self.folder(variant, runtime), runtime, max(THREADS))
            reader = SessionReader(loaded, self.model(variant, runtime))
            store(file, [measure(reader, self.task, "test", limit=self.options.limit, limits=LIMITS)])
        return outcomes(file, list, self.task)[0]

    def speeds(self, threads: int) -> list[dict[str, Any]]:
        """Of all folders in turns, in `SIZES`; read where it was measured before."""
        file = self.work / f"speeds-{threads}.json"
        names = places()
        wanted = [f"{variant.name} {runtime}" for variant, runtime in names]
        if file.exists():
            done = json.loads(file.read_text(encoding="utf-8"))
            if done["of"] == wanted and done["turns"] == self.options.turns:
                return list(done["speeds"])
        folders = {(v.name, r): self.folder(v, r) for v, r in names}
        loaders = {key: partial(session, folder, key[1]) for key, folder in folders.items()}
        found = []
        for batch_size, tokens in SIZES:
            found += speeds(loaders, [batch_size], [tokens], [threads], repeats=self.options.turns)
        said = [one.to_json() for one in found]
        file.write_text(json.dumps({"of": wanted, "turns": self.options.turns, "speeds": said}), encoding="utf-8")
        return said

    def cells(self) -> list[dict[str, Any]]:
        timed = [one for threads in self.options.threads for one in self.speeds(threads)]
        dense = self.answers(DENSE, "torch").statistics
        found = []
        for variant, runtime in places():
            own = self.answers(variant, runtime).statistics
            low, high = difference_interval(dense, own, self.task)
            here = [one for one in timed if (one["model"], one["runtime"]) == (variant.name, runtime)]
            cell = {
                "checkpoint": self.name,
                "kept": variant.kept,
                "int8": variant.int8,
                "vocabulary": variant.vocabulary,
                "runtime": runtime,
                "mb": round(megabytes(self.folder(variant, runtime)), 2),
                "ms": {place(one): round(one["ms"], 3) for one in here},
                "speedup": {place(one): one["ratio"] for one in here},
                "metric": round(100 * self.task.metric.value(own), 2),
                "lost": round(100 * (self.task.metric.value(dense) - self.task.metric.value(own)), 3),
                "lost_interval": [round(100 * low, 2), round(100 * high, 2)],
                "examples": len(own),
            }
            print(json.dumps(cell), flush=True)
            found.append(cell)
        return found


def place(one: dict[str, Any]) -> str:
    return f"{one['batch_size']}x{one['tokens']}, {one['threads']} thread{'s' * (one['threads'] > 1)}"


def means(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a variant and runtime, over all applications; speedup as the geometric mean."""
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for cell in cells:
        grouped.setdefault(variant_of(cell), []).append(cell)
    applications = len({cell["checkpoint"] for cell in cells})
    return [
        dict(zip(("kept", "int8", "vocabulary", "runtime"), key, strict=True))
        | {
            "mb": round(float(np.mean([cell["mb"] for cell in of])), 2),
            "speedup": round(float(np.exp(np.mean(np.log([cell["speedup"][REACH] for cell in of])))), 2),
            "lost": round(float(np.mean([cell["lost"] for cell in of])), 3),
        }
        for key, of in grouped.items()
        if len(of) == applications
    ]


def variant_of(cell: dict[str, Any]) -> tuple[Any, ...]:
    return cell["kept"], cell["int8"], cell["vocabulary"], cell["runtime"]


def best(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """best_at_1_point, best_at_2_points: see the module."""
    within = {most: [one for one in means(cells) if one["lost"] <= most] for most in POINTS}
    small = [one for one in within[1.0] if one["mb"] <= MB]
    first = max(small, key=lambda one: one["speedup"]) if small else min(within[1.0], key=lambda one: one["mb"])
    return {"best_at_1_point": first, "best_at_2_points": min(within[2.0], key=lambda one: one["mb"])}


def of_int8(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """int8_worst_lost, int8_slower; None and nothing where there is no int8."""
    whole = {(cell["checkpoint"], *variant_of(cell)): cell for cell in cells}
    pairs = [
        (cell, whole[cell["checkpoint"], cell["kept"], False, cell["vocabulary"], cell["runtime"]])
        for cell in cells
        if cell["int8"] and (cell["checkpoint"], cell["kept"], False, cell["vocabulary"], cell["runtime"]) in whole
    ]
    slower = [
        f"{one['checkpoint']} {one['kept']:g}{' vocabulary' * one['vocabulary']} {one['runtime']} {where}"
        for one, before in pairs
        for where in one["ms"]
        if one["ms"][where] > before["ms"][where]
    ]
    worst = max((one["lost"] - before["lost"] for one, before in pairs), default=None)
    return {"int8_worst_lost": None if worst is None else round(worst, 3), "int8_slower": slower}


def corruptions(count: int) -> int:
    """Planted in an export of a cut demo model."""
    encoder = asc_core.load_encoder("demo:nli", device="cpu")
    plan = Plan.full(encoder.shape).drop(layer=0).drop(layer=1, head=2)
    with tempfile.TemporaryDirectory() as folder:
        out = asc_core.export(encoder.cut(plan), Path(folder) / "out", plan=plan, original=encoder).path
        return caught(out, Path(folder), count)


def versions() -> dict[str, str]:
    found = {}
    for package in ("onnxruntime", "openvino", "nncf"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def application_cells(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    application = Application(name, WORK, options)
    application.work.mkdir(parents=True, exist_ok=True)
    file = application.work / "cells.json"
    made: dict[str, Any] = {
        "variants": [one.name for one in variants()],
        "runtimes": installed(),
        "turns": options.turns,
    }
    made["threads"] = options.threads
    if file.exists():
        done = json.loads(file.read_text(encoding="utf-8"))
        if options.collect or done["made"] == made:
            return list(done["cells"])
    if options.collect:
        return []
    cells = application.cells()
    file.write_text(json.dumps({"made": made, "machine": machine(), "cells": cells}), encoding="utf-8")
    return cells


def report(cells: Sequence[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    missing = [one for one in RUNTIMES if one not in installed()]
    return {
        "versions": versions(),
        "left_out": missing,
        "turns": options.turns,
        "margins": MARGINS if options.margin is None else options.margin,
        "cells": list(cells),
        "means": means(cells),
        **best(cells),
        **of_int8(cells),
        "corruptions": options.corruptions,
        "corruptions_caught": corruptions(options.corruptions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="calibration examples")
    parser.add_argument("--threads", type=int, action="append", help="1 among them; by default 1 and 2")
    parser.add_argument(
        "--margin", type=int, help="tokens that the shorter vocabulary keeps beside the used; default: MARGINS"
    )
    parser.add_argument("--limit", type=int, help="test examples, for a quick look")
    parser.add_argument("--corruptions", type=int, default=COUNT)
    parser.add_argument("--collect", action="store_true", help="measure nothing anew")
    options = parser.parse_args()
    options.threads = sorted({1, *(options.threads or THREADS)})
    names = options.names or [name for name in NAMES if name in available()]
    cells = [cell for name in names for cell in application_cells(name, options)]
    if not cells:
        raise SystemExit("nothing was measured yet")
    result = report(cells, options)
    whole = set(names) == set(NAMES) and tuple(options.threads) == THREADS and not options.limit
    if whole:
        keep("deploy", result)
    print(json.dumps(result))


if __name__ == "__main__":
    torch.set_num_threads(max(THREADS))
    main()
