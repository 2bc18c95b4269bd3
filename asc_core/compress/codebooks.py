"""Codes and codebooks for the rows of a table: residual k-means, then codes and codebooks in turn.

A row x_n is to be the sum of one entry of each codebook. Residual k-means finds the codebooks one after the other, each
on what those before it leave (Chen et al. 2010); then each code in turn is chosen anew, given the others of its row
(iterated conditional modes, Babenko and Lempitsky 2014), and all entries are by least squares, given the codes. Where
codebooks are of blocks of columns, k-means in each block is all there is to do (product quantization, Jegou et al.
2011). No step makes the weighted squared error larger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from asc_core.compress.shared_rows import fitted_rows, summed_rows

KMEANS_ROUNDS = 10
LEARNT_FROM = 1 << 14  # lines that the means are moved by; all of them in the last round
LINES = 1024  # at a time: what a processor holds near itself
SAME = 1e-6  # of the squares of two lines: a distance that is rounding alone
SETTLED = 1e-4  # of the error: what a further round would have to gain


@dataclass(frozen=True)
class Coding:
    """codes: (lines, codebooks) int64. books: (codebooks, entries, width of a line, or of a block of it)."""

    codes: torch.Tensor
    books: torch.Tensor
    blocks: bool = False

    @property
    def named(self) -> torch.Tensor:
        """(lines, codebooks): the codes as rows of all codebooks, one under the other."""
        books, entries, _ = self.books.shape
        return self.codes + entries * torch.arange(books)

    def values(self) -> torch.Tensor:
        """(lines, width)"""
        rows = self.books.flatten(0, 1)
        return rows[self.named].flatten(1) if self.blocks else summed_rows(rows, self.named)

    def error(self, lines: torch.Tensor, weights: torch.Tensor) -> float:
        return error(self.values(), lines, weights)


def error(values: torch.Tensor, lines: torch.Tensor, weights: torch.Tensor) -> float:
    """Weighted squared error as a share of the weighted squares. values, lines: (n, width). weights: (n,)."""
    off, whole = (float(weights.double() @ one.double().square().sum(1)) for one in (values - lines, lines))
    return off / whole if whole else float(off > 0)


def block_coding(
    lines: torch.Tensor,
    weights: torch.Tensor,
    books: int,
    entries: int,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> Coding:
    """Each codebook on its block of columns. books: a divisor of the width. tell: codebooks done so far."""
    found = []
    for number, block in enumerate(lines.chunk(books, 1)):
        tell(number)
        found.append(kmeans(block, weights, entries, _generator(seed, number)))
    return Coding(torch.stack([codes for _, codes in found], 1), torch.stack([means for means, _ in found]), True)


def residual_coding(
    lines: torch.Tensor,
    weights: torch.Tensor,
    books: int,
    entries: int,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> Coding:
    """Each codebook on what is left by those before it; the first ones are the same however many follow."""
    left, codes, means = lines.clone(), [], []
    for number in range(books):
        tell(number)
        own, chosen = kmeans(left, weights, entries, _generator(seed, number))
        left -= own[chosen]
        codes.append(chosen)
        means.append(own)
    return Coding(torch.stack(codes, 1), torch.stack(means))


def refined(
    lines: torch.Tensor,
    weights: torch.Tensor,
    coding: Coding,
    rounds: int,
    tell: Callable[[int], None] = lambda done: None,
) -> Coding:
    """Codes and codebooks in turn, until that gains next to nothing. A coding in blocks stays as it is."""
    if coding.blocks:
        return coding
    before = coding.error(lines, weights)
    for number in range(rounds):
        tell(number)
        new = refitted(lines, weights, reassigned(lines, coding))
        now = new.error(lines, weights)
        if now >= before:
            break
        coding, gained, before = new, 1 - now / before, now
        if gained < SETTLED:
            break
    return coding


def reassigned(lines: torch.Tensor, coding: Coding) -> Coding:
    """Each line's codes once in turn, each the best one given the others."""
    codes = coding.codes.clone()
    for some in torch.arange(len(lines)).split(LINES):
        own = codes[some]
        left = lines[some] - Coding(own, coding.books).values()
        for number, entries in enumerate(coding.books):
            left += entries[own[:, number]]
            own[:, number] = nearest(left, entries)
            left -= entries[own[:, number]]
        codes[some] = own
    return Coding(codes, coding.books)


def refitted(lines: torch.Tensor, weights: torch.Tensor, coding: Coding) -> Coding:
    """All entries by least squares, given the codes."""
    rows = fitted_rows(lines, weights, coding.named, coding.books.flatten(0, 1))
    return Coding(coding.codes, rows.unflatten(0, coding.books.shape[:2]))


def nearest(lines: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """(n,) int64. lines: (n, width). entries: (k, width)."""
    squares = entries.square().sum(1)
    return torch.cat([(squares - 2 * some @ entries.T).argmin(1) for some in lines.split(LINES)])


def kmeans(
    lines: torch.Tensor, weights: torch.Tensor, entries: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(means (entries, width), the nearest one's number for each line (n,)), of no more error than zeros would have.

    Begun with k-means++ (Arthur and Vassilvitskii 2007). Of many lines some are drawn, by which the means are moved but
    for the last time.
    """
    drawn = torch.arange(len(lines))
    if len(lines) > LEARNT_FROM:
        drawn = torch.randperm(len(lines), generator=generator)[:LEARNT_FROM]
    some, own = lines[drawn], weights[drawn]
    means, weighted = _spread(some, own, entries, generator), own[:, None] * some
    for _ in range(KMEANS_ROUNDS):
        moved = _means(weighted, own, nearest(some, means), means)
        if torch.equal(moved, means):
            break
        means = moved
    means = _means(weights[:, None] * lines, weights, nearest(lines, means), means)
    return means, nearest(lines, means)


def _means(weighted: torch.Tensor, weights: torch.Tensor, of: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Of the lines that are of each; what has no line stays as it was before. weighted: lines times weights."""
    held = weights.new_zeros(len(before)).index_add_(0, of, weights)
    summed = torch.zeros_like(before).index_add_(0, of, weighted)
    return torch.where(held[:, None] > 0, summed / held[:, None].clamp_min(1e-30), before)


def _spread(lines: torch.Tensor, weights: torch.Tensor, entries: int, generator: torch.Generator) -> torch.Tensor:
    """(entries, width) of the lines, each drawn by its squared distance to those drawn before; zeros once there is none
    that is not drawn."""
    found = lines.new_zeros(entries, lines.shape[1])
    squares = lines.square().sum(1)
    far = torch.ones_like(squares)
    for number in range(entries):
        odds = (weights * far).double().cumsum(0)
        if not bool(odds[-1] > 0):
            break
        drawn = float(odds[-1]) * torch.rand((), generator=generator, dtype=torch.float64)
        place = int(torch.searchsorted(odds, drawn, right=True).clamp(max=len(odds) - 1))
        found[number] = lines[place]
        both = squares + squares[place]
        off = both - 2 * (lines @ lines[place])
        off = torch.where(off > SAME * both, off, 0.0)
        far = off if number == 0 else torch.minimum(far, off)
    return found


def _generator(seed: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + number)
