"""How much computing a report of trust takes, and how much of it is done."""

from __future__ import annotations

from dataclasses import dataclass

from asc_core.parts import SINGLE
from asc_core.progress import removing
from asc_core.scores.ablation import parts_of
from asc_core.scores.removal import POINTS, RANDOM_SEEDS
from asc_core.values import Shape


@dataclass(frozen=True)
class WorkEstimate:
    """In texts that go once through the whole encoder."""

    ablation: float
    heads: float
    layers: float

    @property
    def total(self) -> float:
        return self.ablation + self.heads + self.layers

    @staticmethod
    def of(shape: Shape, methods: int, samples: int, held_out: int, truth_known: bool = False) -> WorkEstimate:
        """A part is ablated from the layer that it lies in upwards; an order's two ends are the same for all."""
        upwards = [1 - part.first_layer(shape.rows) / shape.layers for part in parts_of(shape, SINGLE)]
        orders = methods + 1 + len(RANDOM_SEEDS)  # the truth is judged, too
        heads = held_out * (orders * (POINTS - 2) + 2)
        removable = 0 if shape.shares_weights or shape.layers < 3 else min(POINTS, shape.layers) - 1
        layers = held_out * orders * removable / 2  # on average half of the layers are left
        return WorkEstimate(0.0 if truth_known else 1 + samples * sum(upwards), heads, layers)

    def done(self, done: int, total: int, phase: str) -> float:
        """How much of all this, from what a phase reports of itself."""
        share = done / total if total else 0.0
        if phase == removing("layers"):
            return self.ablation + self.heads + share * self.layers
        if phase == removing("heads"):
            return self.ablation + share * self.heads
        return share * self.ablation
