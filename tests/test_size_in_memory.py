"""What a value takes in memory: tensors to the byte, many rows by a sample, what is shared once."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.size_in_memory import size_of
from tests.tiny import tiny


@dataclass
class Pair:
    first: Any
    second: Any


def test_tensors_count_what_lies_under_them_once() -> None:
    whole = torch.zeros(1000)
    assert size_of(whole) == size_of(whole[:10]) == 4000, "a view keeps all of it"
    assert 4000 <= size_of(Pair(whole, [whole[3:], whole])) < 4500
    assert size_of(np.zeros(100)) == 800


def test_an_encoder_is_its_weights_and_its_tokenizer() -> None:
    encoder = tiny()
    weights = sum(t.nbytes for t in (*encoder.model.parameters(), *encoder.model.buffers()))
    assert weights < size_of(encoder) < weights + 1_000_000
    assert size_of([encoder, encoder.model]) < size_of(encoder) + 1000
    assert size_of([encoder, 1], without=(type(encoder),)) < 1000


@pytest.mark.parametrize("rows", [1000, 5000])
def test_rows_are_estimated_near_to_what_they_take(rows: int) -> None:
    tracemalloc.start()
    table = [{"text": f"a text of row {row} " + "x" * (row % 90), "label": float(row)} for row in range(rows)]
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.7 * taken < size_of(table) < 1.4 * taken


def test_code_and_mapped_files_count_nothing() -> None:
    class Mapped:
        data = np.zeros(10**6)
        cache_files = ("rows.arrow",)

    assert size_of(None) == size_of(size_of) == size_of(Pair) == size_of(partial(size_of, [1] * 999)) == 0
    assert size_of(Mapped()) == 0
    Mapped.cache_files = ()
    assert size_of(Mapped()) == 8 * 10**6


def test_a_circle_ends() -> None:
    pair = Pair(1, "x" * 1000)
    pair.first = pair
    assert 1000 < size_of(pair) < 2000
    assert size_of("x" * 1000) == sys.getsizeof("x" * 1000)
