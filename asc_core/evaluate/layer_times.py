"""How long a layer of an encoder takes on this machine, by its number of heads and of neurons.

Measured on whole encoders whose layers are all cut alike, in turns: a layer alone would find its weights in the
processor's cache, where a whole encoder's may have no room. What one more head or neuron adds to a layer is then what
it adds to all of them, divided among them.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import isotonic_regression

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.latency import random_texts, texts_of_turns
from asc_core.plan.latency import LatencyTable
from asc_core.plan.parts import first_iterations
from asc_core.progress import Progress
from asc_core.runtimes import Session, session
from asc_core.study import Study
from asc_core.values import Plan, Shape

ROUND_NEURONS = 32  # widths between are of a size that suits the hardware, so that they do not measure its opposite
WARM_UP = 1
LEAST_TURNS = 3


@dataclass(frozen=True)
class Spacing:
    """Which widths are timed, as shares of the widest row's; one head, and none of either, beside them."""

    heads: tuple[float, ...]
    neurons: tuple[float, ...]
    one_head: bool = True


FINE = Spacing((1 / 4, 1 / 2, 3 / 4, 1), (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1))
COARSE = Spacing((1 / 2, 1), (1 / 4, 1 / 2, 1), one_head=False)  # of runtimes for which every width is exported


def layer_times(
    encoder: Encoder,
    lengths: np.ndarray,
    batch_size: int = 32,
    *,
    runtime: str = "torch",
    threads: int | None = None,
    repeats: int = 25,
    seconds: float = 20.0,
    seed: int = 0,
    study: Study | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure, or read from the study, what `CostModel.with_latency` takes.

    Args:
        encoder: the uncut model.
        lengths: (n,) tokens of a task's features; texts are as in `measure_latency`.
        batch_size: of one forward pass.
        runtime: a name of `RUNTIMES`; one of graphs is timed at fewer widths, as every width is exported first.
        threads: by default as many as torch has here.
        repeats: turns, in each of which every width is timed once on the same texts.
        seconds: after so many there are fewer turns, though 3 at least.
        seed: of texts and order.
        study: where the table is kept, under the encoder's blueprint, device, threads, batch size, mean length and
            runtime.
        again: measure though it is there.
        progress: told how far it is; may cancel.

    Returns:
        Nanoseconds of a layer by its number of heads and of neurons, on this machine.

    Raises:
        Cancelled: between two passes.
        UserError: as the study does, and where the runtime is not there or cannot run the model.
    """
    encoder.require_parts()
    lengths = np.asarray(lengths)
    threads = torch.get_num_threads() if threads is None else threads
    known = None
    if study is not None and not again:
        known = known_layer_times(encoder, lengths, batch_size, study, runtime, threads)
    if known is not None:
        return known
    progress = progress or Progress()
    spacing = FINE if runtime == "torch" else COARSE
    variants = _variants(encoder, spacing, runtime, threads, progress)
    times = typical(_in_turns(variants, lengths, batch_size, repeats, seconds, seed, progress))
    device = device_name(_device(encoder, runtime))
    table = table_of(
        encoder.shape,
        times,
        batch_size,
        float(lengths.mean()),
        device,
        threads=threads,
        runtime=runtime,
        spacing=spacing,
    )
    if study is not None:
        study.set(_key(encoder, lengths, batch_size, runtime, threads), table.to_json())
    return table


def known_layer_times(
    encoder: Encoder,
    lengths: np.ndarray,
    batch_size: int,
    study: Study,
    runtime: str = "torch",
    threads: int | None = None,
) -> LatencyTable | None:
    """What `layer_times` has kept of such a model under these conditions; None where there is nothing of use."""
    shape = encoder.shape
    threads = torch.get_num_threads() if threads is None else threads
    stored = study.get(_key(encoder, np.asarray(lengths), batch_size, runtime, threads))
    try:
        table = LatencyTable.from_json(stored) if stored is not None else None
    except UserError:
        return None
    fits = table is not None and (table.heads[-1], table.neurons[-1]) == (max(shape.heads), max(shape.neurons))
    return table if fits else None


def typical(seconds: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Nanoseconds of each variant in a typical turn. seconds: (turns,) of each.

    A turn is longer for all variants alike, by its texts or a busy machine: by how much, all of them tell together.
    (One step of Tukey's median polish, on logarithms.)
    """
    log = np.log(np.stack(list(seconds.values())))  # (variants, turns)
    turn = np.median(log - np.median(log, axis=1, keepdims=True), axis=0)
    return dict(zip(seconds, (1e9 * np.exp(np.median(log - turn, axis=1))).tolist(), strict=True))


def table_of(
    shape: Shape,
    times: Mapping[str, float],
    batch_size: int,
    tokens: float,
    device: str,
    *,
    threads: int | None = None,
    runtime: str = "torch",
    spacing: Spacing = FINE,
) -> LatencyTable:
    """From nanoseconds of encoders cut alike everywhere to those of one layer's parts.

    times: by name, as of `cuts` with the same spacing. Where narrower ones took longer (noise), the nearest times that
    rise are taken (isotonic regression).
    """
    runs = np.bincount(np.asarray(shape.rows), minlength=len(shape.heads))
    adds: dict[str, tuple[tuple[int, ...], np.ndarray]] = {}
    for kind, counts in (("heads", shape.heads), ("neurons", shape.neurons)):
        widths = _widths(kind, max(counts), spacing)
        of_all = isotonic_regression([times[_name(kind, width, max(counts))] for width in widths]).x
        # How many heads or neurons the whole encoder has more, from one width to the next; rows may end before.
        more = np.array([(runs * np.minimum(width, counts)).sum() for width in widths])
        adds[kind] = widths, np.concatenate(([0.0], np.cumsum(np.diff(of_all) / np.diff(more) * np.diff(widths))))
    parts = np.zeros(shape.layers)
    for kind, counts in (("heads", shape.heads), ("neurons", shape.neurons)):
        parts += np.interp(np.asarray(counts)[np.asarray(shape.rows)], *adds[kind])
    shallow = first_iterations(shape, 1) if shape.shares_weights else np.arange(shape.layers) < 1
    layer = 0.0
    if "shallow" in times:
        layer = (times["whole"] - times["shallow"] - parts[~shallow].sum()) / int((~shallow).sum())
    # One layer alone, of uneven rows, may say more than there is.
    layer = min(max(layer, 0.0), max(times["whole"] - parts.sum(), 0.0) / max(1, shape.layers))
    outside = max(times["whole"] - parts.sum() - shape.layers * layer, 0.0)
    return LatencyTable(
        heads=adds["heads"][0],
        attention=tuple(np.rint(adds["heads"][1]).astype(int).tolist()),
        neurons=adds["neurons"][0],
        ffn=tuple(np.rint(adds["neurons"][1]).astype(int).tolist()),
        layer=round(layer),
        outside=round(outside),
        batch_size=batch_size,
        tokens=round(tokens, 1),
        device=device,
        threads=torch.get_num_threads() if threads is None else threads,
        runtime=runtime,
    )


def cuts(shape: Shape, spacing: Spacing = FINE) -> dict[str, Plan]:
    """What is timed, by name: every row at most so wide, one layer alone ("shallow"), and all of it ("whole")."""
    full = Plan.full(shape)
    found = {"whole": full}
    for kind, counts in (("heads", shape.heads), ("neurons", shape.neurons)):
        for width in _widths(kind, max(counts), spacing)[:-1]:
            kept = tuple(tuple(range(min(width, count))) for count in counts)
            heads, neurons = (kept, full.neurons) if kind == "heads" else (full.heads, kept)
            found[_name(kind, width, max(counts))] = Plan(shape, heads, neurons, full.layers)
    shallow = first_iterations(shape, 1) if shape.shares_weights else np.arange(shape.layers) < 1
    if not shallow.all():
        layers = tuple(np.flatnonzero(shallow).tolist())
        found["shallow"] = Plan(shape, full.heads, full.neurons, layers)
    return found


def device_name(device: torch.device) -> str:
    """What runs there, as far as the machine says."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {processor()}"


def processor() -> str:
    """Its name, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _widths(kind: str, most: int, spacing: Spacing) -> tuple[int, ...]:
    """Those that are measured, ascending from 0 to the widest row's."""
    if kind == "heads":
        one = {min(1, most)} if spacing.one_head else set()
        return tuple(sorted({0, *one, *(round(share * most) for share in spacing.heads)}))
    rounded = (ROUND_NEURONS * round(share * most / ROUND_NEURONS) for share in spacing.neurons[:-1])
    return tuple(sorted({0, *(width for width in rounded if width < most), most}))


def _name(kind: str, width: int, most: int) -> str:
    return "whole" if width == most else f"{width} {kind}"


def _device(encoder: Encoder, runtime: str) -> torch.device:
    """Only torch runs a model where it lies; all others run it on the CPU."""
    return encoder.device if runtime == "torch" else torch.device("cpu")


def _variants(encoder: Encoder, spacing: Spacing, runtime: str, threads: int, progress: Progress) -> dict[str, Session]:
    plans = cuts(encoder.shape, spacing)
    found: dict[str, Session] = {}
    for number, (name, plan) in enumerate(plans.items()):
        progress.step(number, len(plans), "loading widths to time")
        found[name] = session(encoder if plan.keeps_all else encoder.cut(plan), runtime, threads)
    return found


def _in_turns(
    variants: Mapping[str, Session],
    lengths: np.ndarray,
    batch_size: int,
    repeats: int,
    seconds: float,
    seed: int,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """(turns,) seconds of each variant, in an order that is drawn anew for each turn."""
    vocabulary = variants["whole"].vocabulary
    turns = texts_of_turns(lengths, batch_size, WARM_UP + repeats, seed)
    names, generator = list(variants), np.random.default_rng([seed, 1])
    taken: dict[str, list[float]] = {name: [] for name in names}
    began = time.perf_counter()
    for turn, wanted in enumerate(turns):
        if turn >= WARM_UP + LEAST_TURNS and time.perf_counter() - began > seconds:
            break
        texts = random_texts(wanted, vocabulary, seed + turn)
        for place, number in enumerate(generator.permutation(len(names)).tolist()):
            progress.step(turn * len(names) + place, len(turns) * len(names), "timing layers")
            taken[names[number]].append(variants[names[number]].seconds(texts))
    progress.step(len(turns) * len(names), len(turns) * len(names), "timing layers")
    return {name: np.array(every[WARM_UP:]) for name, every in taken.items()}


def _key(encoder: Encoder, lengths: np.ndarray, batch_size: int, runtime: str, threads: int) -> str:
    """Whatever its weights are, a model of the same blueprint takes the same time."""
    conditions = f"{device_name(_device(encoder, runtime))}:{threads}:{batch_size}:{lengths.mean():.0f}"
    where = "" if runtime == "torch" else f":{runtime}"  # tables of earlier versions are torch's
    return f"layer-times:{encoder.blueprint}:{conditions}{where}"
