"""How long a forward pass takes, models side by side, whatever runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.runtimes.session import Session
from asc_core.runtimes.with_torch import TorchSession

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
    """Time models in turns in torch, as `measure_in_turns` does. encoders: by name, sharing a tokenizer."""
    threads = torch.get_num_threads()
    sessions = {name: TorchSession(encoder, threads) for name, encoder in encoders.items()}
    return measure_in_turns(sessions, lengths, batch_size, repeats, seed, progress)


def measure_in_turns(
    sessions: Mapping[str, Session],
    lengths: np.ndarray,
    batch_size: int = 1,
    repeats: int = 30,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Latency]:
    """Time models in turns (A B A B ...) on the same texts, so that whatever slows the machine slows all alike.

    sessions: by name, of any runtimes. lengths: (n,) tokens of a task's features; each turn takes texts of random
    tokens that are as long as `batch_size` of them that are neighbours in length, as in a batch in use.
    Raises: UserError where texts are longer than a model takes; Cancelled between two turns.
    """
    lengths = np.asarray(lengths)
    for name, session in sessions.items():
        if session.max_tokens is not None and lengths.max() > session.max_tokens:
            raise UserError(f"{name} takes {session.max_tokens} tokens at most, not {lengths.max()}.")
    taken = seconds_in_turns(sessions, lengths, batch_size, WARM_UP + repeats, seed, progress)
    first = next(iter(taken.values()))[WARM_UP:]
    found = {}
    for name, every in taken.items():
        own = every[WARM_UP:]
        low, median, high = (float(q) for q in np.quantile(own, [0.25, 0.5, 0.75]))
        found[name] = Latency(median, low, high, float(np.median(first / own)), batch_size, repeats)
    return found


def seconds_in_turns(
    sessions: Mapping[str, Session],
    lengths: np.ndarray,
    batch_size: int,
    turns: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """(turns,) seconds of each session. Raises: Cancelled between two turns."""
    progress = progress or Progress()
    vocabulary = min(session.vocabulary for session in sessions.values())
    seconds = {name: np.empty(turns) for name in sessions}
    for turn, wanted in enumerate(texts_of_turns(np.asarray(lengths), batch_size, turns, seed)):
        progress.step(turn, turns, "latency measurements")
        texts = random_texts(wanted, vocabulary, seed + turn)
        for name, session in sessions.items():
            seconds[name][turn] = session.seconds(texts)
    progress.step(turns, turns, "latency measurements")
    return seconds


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
    """Seconds of one forward pass in torch on the threads that it has now, the inputs already on the device."""
    return TorchSession(encoder, torch.get_num_threads()).seconds(texts)
