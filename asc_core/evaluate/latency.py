"""How long a forward pass takes, models side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.progress import Progress

WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass of `batch_size` texts: the median, and the quartiles as its spread.

    ratio: the median over passes of the first model's seconds by this one's, both on the same texts one after the
    other; above 1 is faster than the first.
    """

    median: float
    low: float
    high: float
    ratio: float
    batch_size: int
    repeats: int


def measure_latency(
    encoders: Mapping[str, Encoder],
    lengths: np.ndarray,
    batch_size: int = 1,
    repeats: int = 30,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Latency]:
    """Time models in turns (A B A B ...) on the same texts, so that whatever slows the machine slows all alike.

    encoders: by name, sharing a tokenizer. lengths: (n,) tokens of a task's features; each turn takes texts of random
    tokens that are as long as `batch_size` of them that are neighbours in length, as in a batch in use.
    Raises: Cancelled between two turns.
    """
    progress = progress or Progress()
    vocabulary = min(int(encoder.model.config.vocab_size) for encoder in encoders.values())
    turns = texts_of_turns(np.asarray(lengths), batch_size, WARM_UP + repeats, seed)
    seconds = {name: np.empty(len(turns)) for name in encoders}
    with torch.inference_mode():
        for turn, wanted in enumerate(turns):
            progress.step(turn, len(turns), "latency measurements")
            texts = random_texts(wanted, vocabulary, seed + turn)
            for name, encoder in encoders.items():
                seconds[name][turn] = seconds_of_pass(encoder, texts)
    progress.step(len(turns), len(turns), "latency measurements")
    first = next(iter(seconds.values()))[WARM_UP:]
    found = {}
    for name, every in seconds.items():
        own = every[WARM_UP:]
        low, median, high = (float(q) for q in np.quantile(own, [0.25, 0.5, 0.75]))
        found[name] = Latency(median, low, high, float(np.median(first / own)), len(turns[0]), repeats)
    return found


def texts_of_turns(lengths: np.ndarray, batch_size: int, turns: int, seed: int) -> list[np.ndarray]:
    """Tokens of each turn's texts, (batch_size,) each: neighbours in ascending order, from places drawn by seed."""
    ascending = np.sort(lengths)
    if len(ascending) < batch_size:
        ascending = np.sort(np.resize(ascending, batch_size))
    begins = np.random.default_rng(seed).integers(0, len(ascending) - batch_size + 1, size=turns)
    return [ascending[begin : begin + batch_size] for begin in begins]


def random_texts(lengths: np.ndarray, vocabulary: int, seed: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask: (texts, longest). Which tokens they are does not change the time."""
    mask = torch.arange(int(lengths.max()))[None, :] < torch.as_tensor(lengths)[:, None]
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary // 2, vocabulary, mask.shape, generator=generator)  # special tokens come first
    return {"input_ids": ids, "attention_mask": mask.long()}


def seconds_of_pass(encoder: Encoder, texts: dict[str, torch.Tensor]) -> float:
    """Seconds of one forward pass, the inputs already on the device."""
    inputs = {name: tensor.to(encoder.device) for name, tensor in texts.items()}
    _wait_for(encoder.device)
    began = time.perf_counter()
    encoder.model(**inputs)
    _wait_for(encoder.device)
    return time.perf_counter() - began


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
