"""Mask rearrangement: which parts of a layer go together, their number given.

Kwon et al. 2022 (2204.09656, section 4.2, algorithm 2): the diagonal of the Fisher information says how many heads and
neurons of each layer stay; among those of one layer the cross terms then count, too. From the solution of the diagonal,
each part that stays is in turn exchanged for the removed one that lowers the sum of I_ij over all removed i and j most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asc_core.values import Indices, Plan


def rearranged(plan: Plan, heads: Sequence[np.ndarray], neurons: Sequence[np.ndarray]) -> Plan:
    """The plan with as many parts in each row, chosen by the block-diagonal Fisher information.

    heads, neurons: for each row gradients of gates, (examples, parts).
    """

    def each(kept: Sequence[Indices], gradients: Sequence[np.ndarray]) -> tuple[Indices, ...]:
        return tuple(
            tuple(sorted(set(range(g.shape[1])) - set(exchange(removed(k, g.shape[1]), information(g)))))
            for k, g in zip(kept, gradients, strict=True)
        )

    return replace(plan, heads=each(plan.heads, heads), neurons=each(plan.neurons, neurons))


def information(gradients: np.ndarray) -> np.ndarray:
    """(parts, parts) mean over examples of g_i g_j, from (examples, parts)."""
    g = gradients.astype(np.float64)
    return g.T @ g / max(len(g), 1)


def removed(kept: Indices, parts: int) -> list[int]:
    return sorted(set(range(parts)) - set(kept))


def exchange(gone: Sequence[int], fisher: np.ndarray) -> list[int]:
    """As many parts as `gone`, after every other part has had its turn, in ascending order of its own information.

    fisher: (parts, parts). The sum of it over all pairs of what is gone never rises.
    """
    chosen = np.zeros(len(fisher), dtype=bool)
    chosen[list(gone)] = True
    if chosen.all() or not chosen.any():
        return np.flatnonzero(chosen).tolist()
    with_chosen = fisher[:, chosen].sum(1)  # of each part with all that is gone
    own = fisher.diagonal()
    for part in sorted(np.flatnonzero(~chosen).tolist(), key=lambda i: (own[i], i)):
        chosen[part] = True
        with_chosen = with_chosen + fisher[:, part]
        members = np.flatnonzero(chosen)
        # Without member i the sum over all pairs falls by 2 (its row sum) - its own.
        falls = 2 * with_chosen[members] - own[members]
        back = part if falls.max() <= falls[members == part][0] else int(members[np.argmax(falls)])
        chosen[back] = False
        with_chosen = with_chosen - fisher[:, back]
    return np.flatnonzero(chosen).tolist()
