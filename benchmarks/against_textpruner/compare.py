"""The sweep's gate gradients against the PyPI package `textpruner`, which takes the same sums from weight gradients.

textpruner needs transformers 4, so it runs in a virtual environment of its own, build/textpruner-venv, as a worker
that is handed a checkpoint and batches in files. Called by benchmarks/sweep.py --textpruner.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.scores.sensitivity import GateGradients
from asc_core.scores.streaming import Sums
from asc_core.scores.sweep_pass import SweepPass
from asc_core.tasks import Task

ENVIRONMENT = Path("build/textpruner-venv")
WORKER = Path(__file__).with_name("worker.py")
TEXTS_A_BATCH = 32


def make_environment() -> str | None:
    """The reason why there is none, or None."""
    if (ENVIRONMENT / "ready").exists():
        return None
    install = [str(ENVIRONMENT / "bin/pip"), "install", "--quiet"]
    same_torch = f"torch=={torch.__version__.partition('+')[0]}"
    commands = [
        [sys.executable, "-m", "venv", str(ENVIRONMENT)],
        [*install, same_torch],
        [*install, "transformers<5", "safetensors", "sentencepiece", "protobuf"],
        [*install, "--no-deps", "textpruner"],  # it asks for a numpy that is too old to be built for this Python
    ]
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            output = getattr(error, "stderr", "") or str(error)
            return f"no environment for textpruner: {output.strip().splitlines()[-1]}"
    (ENVIRONMENT / "ready").touch()
    return None


def compare(encoder: Encoder, task: Task, examples: int, turns: int) -> dict[str, Any]:
    """Ratios of their time to ours, and the largest difference of scores normalised to their largest.

    same_batches: texts in file order, 32 a batch, for both. end_to_end: ours with its own batches of like length.
    """
    reason = make_environment()
    if reason is not None:
        return {"textpruner_skipped": reason}
    work = SweepPass(encoder, task, task.examples("train", examples, 0), [GateGradients], "gold", seed=0)
    order = np.arange(len(work.features))
    same = [order[i : i + TEXTS_A_BATCH] for i in range(0, len(order), TEXTS_A_BATCH)]
    own = batches_by_length(work.features.lengths, BATCH_TOKENS["cpu"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder.model.save_pretrained(folder)
        tensors = {}
        for i, rows in enumerate(same):
            batch = task.batch(work.features, rows, encoder)
            for key, value in {**batch.inputs, "labels": torch.as_tensor(batch.targets)}.items():
                tensors[f"{i}.{key}"] = value.contiguous()
        save_file(tensors, folder / "batches.safetensors")
        command = [str(ENVIRONMENT / "bin/python"), str(WORKER.resolve()), str(folder), str(turns)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return {"textpruner_skipped": f"textpruner failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"}
        theirs = load_file(folder / "scores.safetensors")
        theirs_seconds = median(json.loads((folder / "times.json").read_text(encoding="utf-8"))["seconds"][1:])
    ours: dict[str, list[float]] = {"same": [], "own": []}
    for _ in range(turns + 1):
        for name, batches in (("same", same), ("own", own)):
            sums, start = Sums(), time.perf_counter()
            for rows in batches:
                work.add(rows, sums)
            ours[name].append(time.perf_counter() - start)
    return {
        "textpruner_speedup_same_batches": round(theirs_seconds / median(ours["same"][1:]), 3),
        "textpruner_speedup_end_to_end": round(theirs_seconds / median(ours["own"][1:]), 3),
        "textpruner_max_difference": difference(work, same, {k: v.numpy() for k, v in theirs.items()}),
    }


def difference(work: SweepPass, batches: list[np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """theirs: (layers, heads) and (layers, neurons), absolute values of each batch's sum, added up over batches."""
    worst = 0.0
    totals = {kind: np.zeros(values.size) for kind, values in theirs.items()}
    for rows in batches:
        sums = Sums()
        work.add(rows, sums)
        for kind in totals:
            totals[kind] += np.abs(sums.arrays[f"gradient.{kind}/sum"]) / len(rows)  # theirs is of the batch's mean
    for kind, values in theirs.items():
        a, b = totals[kind] / totals[kind].max(), values.ravel() / values.max()
        worst = max(worst, float(np.abs(a - b).max()))
    return worst
