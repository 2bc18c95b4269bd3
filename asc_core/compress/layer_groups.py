"""Which layers can share one set of weights, and which groups of neighbours do so for the least."""

from __future__ import annotations

from collections.abc import Callable

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError


def shareable(encoder: Encoder) -> dict[int, set[int]]:
    """Layer (from 0) -> the others whose weights fit it; layers that share theirs already, or whose class does that by
    itself, fit no other."""
    if modeling.depth_is_grouped(encoder.model):
        return {}
    layers = modeling.layers_of(encoder.model)
    alone = [i for i, layer in enumerate(layers) if layers.count(layer) == 1]
    shapes = {i: modeling.shapes(layers[i]) for i in alone}
    return {i: {j for j in alone if j != i and shapes[j] == shapes[i]} for i in alone}


def cheapest_groups(
    encoder: Encoder, able: dict[int, set[int]], keep: int, price: Callable[[tuple[int, ...]], float]
) -> list[tuple[int, ...]]:
    """Groups of adjacent layers, two or more each, that leave `keep` sets of weights: those whose prices grow least
    are merged first, again and again.

    Raises: UserError where so few are not possible, or there are no more.
    """
    groups: list[tuple[int, ...]] = []
    for layer in range(encoder.shape.layers):
        groups.append((layer,))
    shared = encoder.shape.layers - len(encoder.shape.heads)  # places on weights that others have already
    if keep >= len(groups) - shared:
        raise UserError(
            f"{encoder.name} has {len(groups) - shared} sets of weights for its layers: keep fewer than that."
        )
    prices: dict[tuple[int, ...], float] = {}

    def cost(group: tuple[int, ...]) -> float:
        if len(group) == 1:
            return 0.0
        if group not in prices:
            prices[group] = price(group)
        return prices[group]

    while len(groups) - shared > keep:
        able_pairs = [
            i
            for i in range(len(groups) - 1)
            if set(groups[i + 1]) <= able.get(groups[i][0], set())
            and set(groups[i][1:]) <= able.get(groups[i][0], set())
        ]
        if not able_pairs:
            raise UserError(
                f"The layers of {encoder.name} can run on {len(groups) - shared} sets of weights at least, as their "
                f"widths are: keep as many, not {keep}."
            )
        best = min(able_pairs, key=lambda i: cost(groups[i] + groups[i + 1]) - cost(groups[i]) - cost(groups[i + 1]))
        groups[best : best + 2] = [groups[best] + groups[best + 1]]
    return [group for group in groups if len(group) > 1]
