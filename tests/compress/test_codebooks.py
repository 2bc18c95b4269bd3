"""Codes and codebooks: no step loses more than was lost before, and what can be said exactly is."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.compress import codebooks
from asc_core.compress.codebooks import (
    Coding,
    block_coding,
    error,
    kmeans,
    nearest,
    reassigned,
    refined,
    refitted,
    residual_coding,
)

seeds = st.integers(0, 99)


def lines_of(seed: int, n: int = 60, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator), torch.rand(n, generator=generator) + 0.1


def random_coding(seed: int, n: int = 60, width: int = 6, books: int = 3, entries: int = 4) -> Coding:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, entries, (n, books), generator=generator)
    return Coding(codes, torch.randn(books, entries, width, generator=generator) / 2)


def test_values_and_their_error_are_the_definitions() -> None:
    (lines, weights), coding = lines_of(0), random_coding(0)
    slow = torch.stack([sum(coding.books[m, code] for m, code in enumerate(row)) for row in coding.codes.tolist()])  # type: ignore[arg-type, misc]
    torch.testing.assert_close(coding.values(), slow)
    blocks = Coding(coding.codes, coding.books[..., :2], blocks=True)
    slow_blocks = torch.stack(
        [torch.cat([blocks.books[m, code] for m, code in enumerate(row)]) for row in coding.codes.tolist()]
    )
    torch.testing.assert_close(blocks.values(), slow_blocks)
    off = sum(float(w) * float((v - x).square().sum()) for w, v, x in zip(weights, slow, lines, strict=True))
    whole = sum(float(w) * float(x.square().sum()) for w, x in zip(weights, lines, strict=True))
    assert coding.error(lines, weights) == pytest.approx(off / whole, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(1, 30), k=st.integers(1, 8))
def test_the_nearest_entry_is_the_nearest(seed: int, n: int, k: int) -> None:
    lines, entries = lines_of(seed, n)[0], lines_of(seed + 1, k)[0]
    far = torch.cdist(lines, entries)
    found = nearest(lines, entries)
    torch.testing.assert_close(far.gather(1, found[:, None])[:, 0], far.amin(1), atol=1e-4, rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(1, 80), entries=st.sampled_from([2, 4, 16, 64]), few=st.booleans())
def test_means_lose_no_more_than_nothing_would_and_every_line_has_its_nearest(
    seed: int, n: int, entries: int, few: bool
) -> None:
    lines, weights = lines_of(seed, n)
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr(codebooks, "LEARNT_FROM", 5)
        means, of = kmeans(lines, weights, entries, torch.Generator().manual_seed(seed))
    assert means.isfinite().all()
    assert means.shape == (entries, 6)
    assert error(means[of], lines, weights) <= 1 + 1e-6
    assert torch.equal(of, nearest(lines, means))
    if n <= entries and not few:
        torch.testing.assert_close(means[of], lines, atol=1e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, entries=st.sampled_from([2, 4, 8]), few=st.booleans())
def test_more_codebooks_never_lose_more_and_begin_with_the_same(seed: int, entries: int, few: bool) -> None:
    lines, weights = lines_of(seed)
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr(codebooks, "LEARNT_FROM", 20)
        found = [residual_coding(lines, weights, books, entries, seed) for books in range(1, 7)]
    errors = [coding.error(lines, weights) for coding in found]
    assert errors[0] <= 1
    assert all(more <= less + 1e-6 for less, more in itertools.pairwise(errors))
    assert errors[-1] < errors[0]
    for books, coding in enumerate(found, 1):
        assert torch.equal(coding.codes, found[-1].codes[:, :books])


@settings(max_examples=30, deadline=None)
@given(seed=seeds, books=st.integers(1, 5), chunk=st.sampled_from([7, 1024]))
def test_neither_new_codes_nor_new_codebooks_lose_more(seed: int, books: int, chunk: int) -> None:
    (lines, weights), coding = lines_of(seed), random_coding(seed, books=books)
    before = coding.error(lines, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebooks, "LINES", chunk)
        other_codes = reassigned(lines, coding)
    assert torch.equal(other_codes.books, coding.books)
    assert other_codes.error(lines, weights) <= before + 1e-6
    other_books = refitted(lines, weights, coding)
    assert torch.equal(other_books.codes, coding.codes)
    assert other_books.error(lines, weights) <= before + 1e-6
    errors = [refined(lines, weights, coding, rounds).error(lines, weights) for rounds in range(4)]
    assert errors[0] == before
    assert all(more <= less for less, more in itertools.pairwise(errors))


def test_each_code_in_turn_is_the_best_given_the_others() -> None:
    (lines, _), coding = lines_of(3), random_coding(3)
    found = reassigned(lines, coding)
    for line in range(10):
        codes = coding.codes[line].tolist()
        for book in range(3):
            tried = []
            for code in range(4):
                now = [*codes[:book], code, *codes[book + 1 :]]
                row = torch.stack([coding.books[m, c] for m, c in enumerate(now)]).sum(0)
                tried.append(float((row - lines[line]).square().sum()))
            codes[book] = tried.index(min(tried))
        assert found.codes[line].tolist() == codes


@settings(max_examples=20, deadline=None)
@given(seed=seeds, distinct=st.integers(1, 8))
def test_as_many_entries_as_rows_that_differ_lose_nothing(seed: int, distinct: int) -> None:
    rows, _ = lines_of(seed, distinct)
    generator = torch.Generator().manual_seed(seed)
    lines, weights = rows[torch.randint(0, distinct, (50,), generator=generator)], torch.rand(50) + 0.1
    assert residual_coding(lines, weights, 1, 8, seed).error(lines, weights) < 1e-9
    blocks = [lines_of(seed + block, distinct, 2)[0] for block in range(3)]
    chosen = torch.randint(0, distinct, (50, 3), generator=generator)
    product = torch.cat([block[chosen[:, number]] for number, block in enumerate(blocks)], 1)
    assert block_coding(product, weights, 3, 8, seed).error(product, weights) < 1e-9


def test_codes_and_codebooks_in_turn_find_most_of_what_was_planted() -> None:
    planted = random_coding(5, n=400, width=12, books=3, entries=4)
    lines, weights = planted.values(), torch.ones(400)
    begun = residual_coding(lines, weights, 3, 4)
    found = refined(lines, weights, begun, 20)
    assert found.error(lines, weights) < 0.8 * begun.error(lines, weights)


@pytest.mark.parametrize("blocks", [False, True])
def test_rows_that_weigh_more_are_nearer(blocks: bool) -> None:
    lines, _ = lines_of(1, 200)
    heavy = torch.where(torch.arange(200) < 100, 100.0, 1.0)
    make = block_coding if blocks else residual_coding
    errors = [
        error(refined(lines, w, make(lines, w, 2, 8), 5).values()[:100], lines[:100], torch.ones(100))
        for w in (torch.ones(200), heavy)
    ]
    assert errors[1] < 0.95 * errors[0]


def test_the_same_seed_makes_the_same_codes_and_another_one_others() -> None:
    lines, weights = lines_of(2)
    found = [residual_coding(lines, weights, 3, 4, seed) for seed in (0, 0, 1)]
    assert torch.equal(found[0].codes, found[1].codes)
    assert torch.equal(found[0].books, found[1].books)
    assert not torch.equal(found[0].codes, found[2].codes)


def test_rows_of_zeros_are_no_trouble() -> None:
    lines, weights = torch.zeros(20, 6), torch.ones(20)
    for coding in (residual_coding(lines, weights, 3, 4), block_coding(lines, weights, 3, 4)):
        assert torch.equal(refined(lines, weights, coding, 3).values(), lines)
        assert coding.error(lines, weights) == 0
    assert error(torch.ones(20, 6), lines, weights) == 1
