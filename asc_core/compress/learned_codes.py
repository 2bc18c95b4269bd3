"""Codes that a small network learns to give, and codebooks with them (Shu and Nakayama 2018, arXiv 1711.01068).

From a row e the network makes scores for each code, log softplus(W' tanh(W e + b) + b'), of which Gumbel noise and a
softmax make nearly one entry a codebook (Jang et al. 2017); loss 1/2 |e' - e|^2. Afterwards each code is the one of the
largest score. It knows the rows alone, and nothing of the task beyond their weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from asc_core.compress.codebooks import Coding

BATCH = 256
RATE = 1e-3  # of Adam; the paper's 1e-4 is for a hundred times the steps
TEMPERATURE = 1.0


class CodeNetwork(nn.Module):
    """books: (codebooks, entries, width). Every number is drawn by the seed."""

    def __init__(self, width: int, books: int, entries: int, size: float, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        hidden = max(1, books * entries // 2)

        def drawn(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(*shape, generator=generator))

        self.first, self.first_bias = drawn(hidden, width, scale=width**-0.5), drawn(hidden, scale=0.0)
        self.second = drawn(books * entries, hidden, scale=hidden**-0.5)
        self.second_bias = drawn(books * entries, scale=0.0)
        self.books = drawn(books, entries, width, scale=size / books**0.5)

    def scores(self, lines: torch.Tensor) -> torch.Tensor:
        """(n, codebooks, entries), logarithms."""
        hidden = functional.linear(lines, self.first, self.first_bias).tanh()
        found = functional.softplus(functional.linear(hidden, self.second, self.second_bias))
        return (found + 1e-8).log().unflatten(1, self.books.shape[:2])

    def forward(self, lines: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """(n, width). noise: (n, codebooks, entries), Gumbel's."""
        shares = ((self.scores(lines) + noise) / TEMPERATURE).softmax(-1)
        return shares.flatten(1) @ self.books.flatten(0, 1)


def learned_coding(
    lines: torch.Tensor,
    weights: torch.Tensor,
    books: int,
    entries: int,
    steps: int,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> Coding:
    """lines: (n, width). weights: (n,), by which they are drawn. tell: steps done so far."""
    size = float(lines.square().mean().sqrt()) or 1.0  # rows are learnt in units of their own
    network = CodeNetwork(lines.shape[1], books, entries, 1.0, seed)
    generator = torch.Generator().manual_seed(seed)
    odds = (weights.double() / weights.double().sum()).cumsum(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    with torch.enable_grad():
        for step in range(steps):
            tell(step)
            drawn = torch.rand(BATCH, generator=generator, dtype=torch.float64)
            some = lines[torch.searchsorted(odds, drawn).clamp(max=len(lines) - 1)] / size
            uniform = torch.rand(BATCH, books, entries, generator=generator).clamp(1e-9, 1 - 1e-7)
            loss = (network(some, -(-uniform.log()).log()) - some).square().sum(1).mean() / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        codes = torch.cat([network.scores(some / size).argmax(-1) for some in lines.split(1024)])
        return Coding(codes, network.books.detach() * size)
