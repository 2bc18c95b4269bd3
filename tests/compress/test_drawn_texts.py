"""Texts for statistics of gradients: the same ones by one seed, as many as make so many tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from asc_core.compress.drawn_texts import drawn_batches
from asc_core.errors import Cancelled
from asc_core.progress import Progress
from tests.evaluate.toy_tasks import encoder_for, toy_task

TASK = toy_task(train=60, validation=16)
ENCODER = encoder_for(TASK)


def rows(**changed: Any) -> list[list[int]]:
    options = {"samples": 40, "tokens": 10**6, "seed": 0, "progress": Progress(), "what": "x"} | changed
    return [
        ids[mask.bool()].tolist()
        for batch, _ in drawn_batches(ENCODER, TASK, **options)
        for ids, mask in zip(batch.inputs["input_ids"], batch.mask, strict=True)
    ]


def test_the_same_texts_come_by_one_seed_and_others_by_another() -> None:
    assert rows() == rows()
    assert sorted(rows()) != sorted(rows(seed=1))
    assert len(rows()) == 40


def test_there_are_as_many_as_make_the_tokens_and_one_at_least() -> None:
    some = rows(tokens=100)
    assert 0 < sum(map(len, some)) <= 100
    assert len(some) < len(rows())
    assert len(rows(tokens=1)) == 1


def test_noise_is_of_the_text_and_not_of_its_batch() -> None:
    batch, noise = next(drawn_batches(ENCODER, TASK, samples=40, tokens=10**6, seed=3, progress=Progress(), what="x"))
    shape = torch.Size([len(batch.mask), 2])
    assert torch.equal(noise(0, shape), noise(0, shape))
    assert len(noise(0, shape).unique(dim=0)) == len(batch.mask)


def test_it_says_how_far_it_is_and_can_be_cancelled() -> None:
    seen: list[Any] = []

    def stop(done: int, total: int, what: str) -> None:
        raise Cancelled

    rows(progress=Progress(lambda done, total, what: seen.append((done, total))))
    assert seen[0] == (0, 40)
    assert seen[-1] == (40, 40)
    with pytest.raises(Cancelled):
        rows(progress=Progress(stop))
