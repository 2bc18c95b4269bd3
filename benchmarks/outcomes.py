"""What models did on test examples, kept on disk so that a benchmark that was killed goes on.

While it runs, a file for each model in a folder that git ignores; `pack` gathers them in one file beside the committed
results, from which `unpack` lets another checkout go on. Each says with which arithmetic it was made (`machine`): with
another one the same seed may give other figures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asc_core.encoder import Encoder
from asc_core.evaluate import PerExampleResult, measure
from asc_core.recipes.agnosticism_gap import mean_difference
from asc_core.tasks import Task
from benchmarks.machine import arithmetic

MADE = "made"


def outcomes(
    file: Path, build: Callable[[], Sequence[Encoder]], task: Task, split: str = "test"
) -> list[PerExampleResult]:
    """Of each model on a split; read from `file` (.npz) where they were measured before."""
    if file.exists():
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files if name != MADE}
        metadata = json.loads(str(arrays.pop("metadata")))
        return [
            PerExampleResult.from_arrays({n.split("|", 1)[1]: a for n, a in arrays.items() if n.startswith(f"{i}|")}, m)
            for i, m in enumerate(metadata)
        ]
    start = time.perf_counter()
    found = [measure(model, task, split) for model in build()]
    print(f"{file.stem}: {time.perf_counter() - start:.0f} s", flush=True)
    store(file, found)
    return found


def store(file: Path, found: Sequence[PerExampleResult], made: dict[str, Any] | None = None) -> None:
    """Where `outcomes` reads it. made: with which arithmetic, None = that of this process; empty where nobody knows."""
    flat: dict[str, np.ndarray] = {}
    metadata = []
    for i, measured in enumerate(found):
        arrays, about = measured.to_arrays()
        flat |= {f"{i}|{name}": array for name, array in arrays.items()}
        metadata.append(about)
    temporary = file.with_suffix(".tmp.npz")
    flat |= {"metadata": np.array(json.dumps(metadata))}
    flat |= {MADE: np.array(json.dumps(arithmetic() if made is None else made))}
    np.savez(temporary, **flat)  # type: ignore[arg-type]
    temporary.replace(file)


def made_with(file: Path) -> dict[str, Any]:
    """The arithmetic that outcomes in `file` were made with; empty where it was not written down."""
    with np.load(file) as stored:
        return dict(json.loads(str(stored[MADE]))) if MADE in stored.files else {}


def pack(work: Path, file: Path) -> None:
    """The outcomes of a whole split that lie in `work`, in one compressed file (.npz)."""
    arrays: dict[str, np.ndarray] = {}
    about: dict[str, list[dict[str, str]]] = {}
    made: dict[str, dict[str, Any]] = {}
    for each in sorted(work.glob("*.npz")):
        if each.name.endswith(".tmp.npz"):
            continue
        about[each.stem] = []
        made[each.stem] = made_with(each)
        for i, measured in enumerate(outcomes(each, list, None)):  # type: ignore[arg-type]
            if not measured.complete or measured.predictions is not None:
                raise ValueError(f"{each}: only labelled outcomes of a whole split are packed")
            about[each.stem].append(measured.to_arrays()[1])
            exact = measured.statistics.astype(np.uint8)  # right or wrong, mostly
            arrays[f"{each.stem}|{i}"] = exact if (exact == measured.statistics).all() else measured.statistics
    temporary = file.with_suffix(".tmp.npz")
    arrays |= {"about": np.array(json.dumps(about)), MADE: np.array(json.dumps(made))}
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(file)


def unpack(file: Path, work: Path) -> None:
    """What `pack` gathered, as far as it is not in `work` yet."""
    work.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        return
    with np.load(file) as packed:
        made = json.loads(str(packed[MADE])) if MADE in packed.files else {}
        for name, models in json.loads(str(packed["about"])).items():
            if (work / f"{name}.npz").exists():
                continue
            found = []
            for i, metadata in enumerate(models):
                values = packed[f"{name}|{i}"].astype(np.float64)
                found.append(
                    PerExampleResult.from_arrays({"numbers": np.arange(len(values)), "statistics": values}, metadata)
                )
            store(work / f"{name}.npz", found, made.get(name, {}))


def statistics(found: Sequence[PerExampleResult]) -> np.ndarray:
    """(examples, k) of the metric's statistics, mean over models: a metric that is a mean is then the mean metric."""
    return np.mean([outcome.statistics for outcome in found], axis=0)


def difference_interval(first: np.ndarray, second: np.ndarray, task: Task) -> list[float]:
    """95 % of metric(first) - metric(second), paired bootstrap over test examples, which may be means over seeds."""
    _, interval = mean_difference([(first, second, task.metric)])
    return list(interval)
