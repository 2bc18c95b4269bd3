"""How long an exported folder takes to answer, beside its original, in turns, loaded as its user loads it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from asc_core.evaluate.latency import Latency, measure_in_turns, measure_latency
from asc_core.loading import load_encoder
from asc_core.progress import Progress
from asc_core.runtimes import RUNTIMES, session

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

REPEATS = 15


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one forward pass: medians of turns. ratio: the original's by the folder's, of the same turns.

    tokens: of a text, on average. runtime, threads, machine: on what it was measured, which is all that it holds for.
    """

    milliseconds: float
    original_milliseconds: float
    ratio: float
    batch_size: int
    tokens: float
    runtime: str
    threads: int
    machine: str

    @property
    def where(self) -> str:
        return f"{self.runtime}, {self.threads} thread{'s' * (self.threads != 1)}, {self.machine}"


Timer = Callable[[Path, "Encoder", Sequence[int], Progress], Timing | None]


def _torch(folder: Path, original: Encoder, lengths: Sequence[int], progress: Progress) -> Timing | None:
    exported = load_encoder(folder, device=str(original.device))
    if exported.blueprint == original.blueprint:
        return None  # equal blueprints take equal time: whatever was measured would be noise
    found = measure_latency(
        {"original": original, "exported": exported}, np.asarray(lengths), repeats=REPEATS, progress=progress
    )
    return _timing(found, lengths, f"torch {torch.__version__} in float32")


def _graph(folder: Path, original: Encoder, lengths: Sequence[int], progress: Progress) -> Timing | None:
    """In the graph's own runtime; the original stays in torch, which is what its user leaves."""
    runtime = next((one for one in RUNTIMES.values() if one.form and one.missing() is None and one.takes(folder)), None)
    if runtime is None:
        return None
    sessions = {"original": session(original), "exported": session(folder, runtime.name)}
    found = measure_in_turns(sessions, np.asarray(lengths), repeats=REPEATS, progress=progress)
    there = f"torch {torch.__version__}" + ("" if original.device.type == "cpu" else f" on {original.device.type}")
    return _timing(found, lengths, f"{runtime.title}, the original in {there}")


def _timing(found: Mapping[str, Latency], lengths: Sequence[int], runtime: str) -> Timing:
    before, after = found["original"], found["exported"]
    return Timing(
        milliseconds=1e3 * after.median,
        original_milliseconds=1e3 * before.median,
        ratio=after.ratio,
        batch_size=after.batch_size,
        tokens=float(np.mean(lengths)),
        runtime=runtime,
        threads=torch.get_num_threads(),
        machine=machine(),
    )


# Format -> how its folders are timed. What is not here has no time yet; the page and the card say so.
TIMERS: dict[str, Timer] = {
    **dict.fromkeys(("compact", "weights-only", "dense"), _torch),
    **dict.fromkeys(("onnx", "openvino"), _graph),
}


def timing_of(
    folder: Path, form: str, original: Encoder, lengths: Sequence[int], progress: Progress | None = None
) -> Timing | None:
    """form: a format's name. lengths: tokens of the application's texts. None where nothing times that format, or where
    both are the same computation.

    Raises: Cancelled between two turns.
    """
    timer = TIMERS.get(form)
    return timer(folder, original, lengths, progress or Progress()) if timer is not None else None


def machine() -> str:
    """The processor's name, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
