"""What this process holds while the dashboard's work is done on the five embedded applications, stage by stage.

One application after the other is loaded, scored, cut with a repair and evaluated, as the pages do it. After each
stage: memory of the process, and what is kept for speed, by kind.

    PYTHONPATH=. nice python benchmarks/memory.py [--samples 64] [--budget 0.5] [--trim]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import tempfile
from pathlib import Path
from typing import Any

from asc_core import machine_memory
from asc_core.compress.cut import Cut
from asc_core.plan import by_budget
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.scores import sweep
from asc_core.scores.methods import offered
from asc_core.study import Study
from dashboard.measuring.measurements import Measurements
from dashboard.state.applications import applications_of
from dashboard.state.loaded import LoadedModels

EVALUATED = 256  # examples of each cut: what takes memory is there after the first hundred


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena free mmaps b mmapped c d used e releasable".split()]


def in_use() -> float | None:
    """GB that the C library's allocator has handed out and not got back; None where it does not say (not glibc)."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return None
    ask.restype = Mallinfo
    said = ask()
    return (said.used + said.mmapped) / 1e9


def held() -> float:
    return (machine_memory.resident() or 0) / 1e9


class Stages:
    def __init__(self, models: LoadedModels, trim: bool):
        self.models, self.trim, self.rows = models, trim, [("start", held())]

    def after(self, what: str) -> None:
        gc.collect()
        before = held()
        if self.trim:
            machine_memory.give_back()
        kinds = self.models.kept.by_kind()
        said = ", ".join(f"{kind} {size / 1e6:,.0f} MB" for kind, size in kinds.items())
        trimmed = f" -> {held():.2f} GB" if self.trim else ""
        used = in_use()
        allocated = "" if used is None else f" (allocated {used:.2f})"
        print(f"{what:<32} {before:.2f} GB{trimmed}{allocated}  {said}", flush=True)
        self.rows.append((what, held()))


def measure(names: list[str], samples: int, budget: float, trim: bool, threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    models = LoadedModels()
    stages = Stages(models, trim)
    stages.after("imports")
    with tempfile.TemporaryDirectory() as folder:
        study = Study.open(Path(folder) / "study")
        for application in (one for one in applications_of(study) if not names or one.title in names):
            encoder = models.encoder(application)
            stages.after(f"{application.title}: encoder")
            task = models.task(application)
            models.facts(application)
            stages.after(f"{application.title}: texts")
            costs = models.cost_model(application)
            stages.after(f"{application.title}: cost model")
            scores = sweep(encoder, task, offered(), samples=samples, study=study)
            stages.after(f"{application.title}: scored")
            plan = by_budget(next(iter(scores.values())), costs, budget)
            measurements = Measurements(models, study, application, costs)
            recipe = Recipe((Cut(plan=plan, repair="sequential", until_settled=True),))
            measurements.measured(recipe, "a cut", Progress(), enough=lambda found: found.examples >= EVALUATED)
            stages.after(f"{application.title}: repaired, evaluated")
    return {"memory_gb": round(stages.rows[-1][1], 2), "most_gb": round(max(size for _, size in stages.rows), 2)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("applications", nargs="*", help="of the embedded ones; by default all")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trim", action="store_true", help="hand freed memory back after each stage")
    given = parser.parse_args()
    print(json.dumps(measure(given.applications, given.samples, given.budget, given.trim, given.threads)))
