"""A batch that does not fit into memory is done in parts: all of it, in order, and no more is tried than was needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.memory import Halving, is_out_of_memory

CPU = torch.device("cpu")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(9, 200))
def test_everything_is_done_once_in_order_in_parts_that_fit(lengths: list[int], memory: int) -> None:
    tokens = np.array(lengths)
    halving, failed = Halving(CPU, tokens), [float("inf")]

    def work(rows: np.ndarray) -> list[int]:
        needs = len(rows) * int(tokens[rows].max())
        assert needs < failed[-1], "what failed once is not tried again"
        if needs > memory:
            failed.append(needs)
            raise MemoryError
        return rows.tolist()

    everything = np.arange(len(tokens))
    done = [number for _ in range(2) for rows, found in halving.run(everything, work) for number in found]
    assert done == [*everything, *everything]


def test_a_single_text_that_does_not_fit_is_said() -> None:
    def work(rows: np.ndarray) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="one text of 7 tokens on cpu"):
        list(Halving(CPU, np.array([7, 7])).run(np.arange(2), work))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
    ids=str,
)
def test_a_shortage_of_memory_is_known_by_its_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
