"""Batches that do not fit into memory: known by their errors, and tried again in halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from asc_core.errors import UserError

Result = TypeVar("Result")

# CUDA has a class of its own for it; the CPU's allocator and MPS say it in words.
SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in SIGNS)


@dataclass
class Halving:
    """Work on batches of features, the size of which memory may not allow.

    lengths: tokens of every feature. fits: tokens of a batch, padding counted, beyond which it is halved without a try.
    """

    device: torch.device
    lengths: np.ndarray
    fits: float = float("inf")

    def run(self, rows: np.ndarray, work: Callable[[np.ndarray], Result]) -> Iterator[tuple[np.ndarray, Result]]:
        """(part of rows, work(part)), in order; a part that does not fit is halved, and so is every later one as large.

        Raises: UserError where a single feature does not fit.
        """
        waiting = [rows]
        while waiting:
            part = waiting.pop()
            tokens = len(part) * int(self.lengths[part].max())
            if tokens <= self.fits or len(part) == 1:
                try:
                    found = work(part)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                else:
                    yield part, found
                    continue
                # outside the handler, whose traceback would keep the batch's tensors alive
                _release(self.device)
                if len(part) == 1:
                    raise UserError(
                        f"Memory is too short for one text of {tokens} tokens on {self.device}: set a smaller "
                        "max_length in the task file, or use another device (`--device cpu`)."
                    )
                self.fits = tokens / 2
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
