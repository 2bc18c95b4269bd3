from __future__ import annotations

import torch

from asc_core.compress.codebooks import Coding, refined
from asc_core.compress.learned_codes import learned_coding

GENERATOR = torch.Generator().manual_seed(0)
LINES = torch.randn(8, 6, generator=GENERATOR)[torch.randint(0, 8, (200,), generator=GENERATOR)]
LINES = 0.05 * (LINES + 0.1 * torch.randn(200, 6, generator=GENERATOR))
WEIGHTS = torch.ones(200)


def test_learning_finds_codes_that_tell_rows_apart() -> None:
    errors = [learned_coding(LINES, WEIGHTS, 2, 4, steps).error(LINES, WEIGHTS) for steps in (0, 800)]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.5
    codes = torch.randint(0, 4, (200, 2), generator=torch.Generator().manual_seed(0))
    by_chance = refined(LINES, WEIGHTS, Coding(codes, torch.zeros(2, 4, 6)), 1).error(LINES, WEIGHTS)
    learned = refined(LINES, WEIGHTS, learned_coding(LINES, WEIGHTS, 2, 4, 800), 1).error(LINES, WEIGHTS)
    assert learned < by_chance


def test_it_does_the_same_again_and_leaves_chance_as_it_was() -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first, second = (learned_coding(LINES, WEIGHTS, 2, 4, 20) for _ in range(2))
    assert torch.equal(first.codes, second.codes)
    assert torch.equal(first.books, second.books)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not first.books.requires_grad


def test_rows_are_drawn_by_their_weights() -> None:
    weights = torch.where(torch.arange(200) < 20, 1.0, 1e-6)
    errors = [_of_first(learned_coding(LINES, given, 1, 4, 300)) for given in (WEIGHTS, weights)]
    assert errors[1] < errors[0]


def _of_first(coding: Coding) -> float:
    return Coding(coding.codes[:20], coding.books).error(LINES[:20], torch.ones(20))
