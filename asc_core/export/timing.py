"""How long an exported folder takes to answer, beside its original, in turns, loaded as its user loads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from asc_core.evaluate.latency import measure_in_turns
from asc_core.evaluate.layer_times import processor
from asc_core.loading import load_encoder
from asc_core.progress import Progress
from asc_core.runtimes import RUNTIMES, session

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

REPEATS = 15


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one forward pass: medians of turns. ratio: the original's by the folder's, of the same turns.

    tokens: of a text, on average. runtime, original_runtime, threads, machine: on what it was measured, which is all
    that it holds for.
    """

    milliseconds: float
    original_milliseconds: float
    ratio: float
    batch_size: int
    tokens: float
    runtime: str
    original_runtime: str
    threads: int
    machine: str

    @property
    def where(self) -> str:
        other = f", the original in {self.original_runtime}" if self.original_runtime != self.runtime else ""
        return f"{self.runtime}{other}, {self.threads} thread{'s' * (self.threads != 1)}, {self.machine}"


# Formats whose folders are loaded again as an encoder; graphs are loaded by the runtime that they are for.
LOADED_IN_TORCH = ("compact", "weights-only", "dense")


def timing_of(
    folder: Path, form: str, original: Encoder, lengths: Sequence[int], progress: Progress | None = None
) -> Timing | None:
    """form: a format's name. lengths: tokens of the application's texts.

    The original is timed in torch where it lies, a graph on the CPU with as many threads. None where no runtime loads
    that format, or where both are the same computation; the page and the card say so.
    Raises: Cancelled between two turns.
    """
    runtime = "torch" if form in LOADED_IN_TORCH else next((r.name for r in RUNTIMES.values() if r.form == form), None)
    if runtime is None:
        return None
    threads, exported = torch.get_num_threads(), None
    if runtime == "torch":
        loaded = load_encoder(folder, device=str(original.device))
        if loaded.blueprint == original.blueprint:
            return None  # equal blueprints take equal time: whatever was measured would be noise
        exported = session(loaded, threads=threads)
    sessions = {"original": session(original, threads=threads), "exported": exported or session(folder, runtime)}
    found = measure_in_turns(sessions, np.asarray(lengths), repeats=REPEATS, progress=progress)
    before, after = found["original"], found["exported"]
    return Timing(
        milliseconds=1e3 * after.median,
        original_milliseconds=1e3 * before.median,
        ratio=after.ratio,
        batch_size=after.batch_size,
        tokens=float(np.mean(lengths)),
        runtime=_named(runtime, original),
        original_runtime=_named("torch", original),
        threads=threads,
        machine=processor(),
    )


def _named(runtime: str, original: Encoder) -> str:
    where = f" on {original.device.type}" if original.device.type != "cpu" else ""
    return f"torch {torch.__version__} in float32{where}" if runtime == "torch" else version_of(runtime)


def version_of(runtime: str) -> str:
    """Its name with the version that is installed."""
    return f"{RUNTIMES[runtime].title} {metadata.version(runtime)}"
