"""Values of the engine made up for tests: no model behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from asc_core.plan import CostModel
from asc_core.values import Estimate, PartValues, Scores, Shape
from tests.plan.builders import counts_of

SHAPE = Shape("bert", hidden=24, head_width=6, heads=(4, 4, 4), neurons=(20, 20, 20), rows=(0, 1, 2))
UNEVEN = Shape("bert", hidden=24, head_width=6, heads=(4, 2, 0), neurons=(20, 5, 0), rows=(0, 1, 2))
SHARED = Shape("albert", hidden=24, head_width=6, heads=(4,), neurons=(20,), rows=(0, 0, 0), shares_weights=True)


def scores(
    shape: Shape = SHAPE,
    seed: int = 0,
    method: str = "fisher",
    task: str = "nli",
    parts: tuple[str, ...] = ("heads", "neurons", "attention", "ffn", "layers"),
    similarity: bool = False,
    weights: str = "w",
) -> Scores:
    """Random scores in (0, 1) with intervals of +-0.05."""
    random = np.random.default_rng(seed)
    sizes = {"attention": len(shape.heads), "ffn": len(shape.heads), "layers": shape.layers}
    made = {
        part: tuple(random.random(n) for n in getattr(shape, part))
        if part in ("heads", "neurons")
        else random.random(sizes[part])
        for part in parts
    }
    values = PartValues(**made)  # type: ignore[arg-type]
    matrix = None
    if similarity:
        steps = np.arange(shape.layers + 1)
        matrix = 1 - 0.05 * np.abs(steps[:, None] - steps[None, :])
    return Scores(
        method,
        values,
        shape,
        weights,
        task,
        "train",
        64,
        labels="gold",
        low=moved(values, -0.05),
        high=moved(values, 0.05),
        similarity=matrix,
    )


def moved(values: PartValues, by: float) -> PartValues:
    arrays = {name: array + by for name, array in values.arrays().items()}
    return PartValues.from_arrays(arrays)


def with_heads(made: Scores, heads: np.ndarray) -> Scores:
    return replace(made, values=PartValues(**(made.values.by_kind | {"heads": tuple(heads)})), low=None, high=None)


def cost_model(shape: Shape = SHAPE) -> CostModel:
    rows = len(shape.heads)
    counts = counts_of(
        shape,
        outside_layers=1000,
        outside_bytes=4000,
        head=(600,) * rows,
        neuron=(49,) * rows,
        layer=(120,) * rows,
        head_macs=(4 * shape.hidden * shape.head_width,) * rows,
        neuron_macs=(2 * shape.hidden,) * rows,
        attention_macs=2 * shape.head_width,
    )
    return CostModel(shape, counts, np.array([8, 10, 12]))


def estimate(value: float = 0.9, examples: int = 100, total: int = 100, difference: float | None = None) -> Estimate:
    ends = None if difference is None else (difference - 0.01, difference + 0.01)
    return Estimate("accuracy", value, (value - 0.02, value + 0.02), "validation", examples, total, difference, ends)
