"""Small random encoders' shapes, scores and costs, and brute force over all that they allow."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st

from asc_core.modeling import PartCounts
from asc_core.plan import CostModel, LatencyTable
from asc_core.values import PartValues, Plan, Scores, Shape

HIDDEN, HEAD_WIDTH = 12, 3


def shape_of(heads: list[int], neurons: list[int], rows: list[int] | None = None) -> Shape:
    architecture = "bert" if rows is None else "albert"
    layers = tuple(rows) if rows is not None else tuple(range(len(heads)))
    return Shape(architecture, HIDDEN, HEAD_WIDTH, tuple(heads), tuple(neurons), layers, rows is not None)


def scores_of(
    shape: Shape, seed: int = 0, method: str = "fisher", kinds: str = "heads neurons attention ffn layers"
) -> Scores:
    """Random positive scores with many equal ones; heads are worth more than neurons."""
    rng = np.random.default_rng(seed)

    def draw(count: int, scale: float = 1.0) -> np.ndarray:
        return np.round(rng.exponential(scale, count), 1)

    values = PartValues(
        heads=tuple(draw(n, 4.0) for n in shape.heads),
        neurons=tuple(draw(n) for n in shape.neurons),
        attention=draw(len(shape.heads)),
        ffn=draw(len(shape.heads)),
        layers=draw(shape.layers),
    )
    absent = dict.fromkeys({"heads", "neurons", "attention", "ffn", "layers"} - set(kinds.split()))
    return Scores(method, PartValues(**(values.by_kind | absent)), shape, "weights", "task", "train", 64, seed=seed)


def cost_model_of(
    shape: Shape,
    lengths: tuple[int, ...] = (3, 5, 9, 40),
    latency: LatencyTable | None = None,
    window: tuple[int | None, ...] = (),
    **more: object,
) -> CostModel:
    """window: tokens that one token attends to, for each layer; empty = all of them everywhere."""
    span = {"span": window} if window else {}
    return CostModel(shape, counts_of(shape, **span, **more), np.array(lengths), latency=latency)  # type: ignore[arg-type]


def counts_of(shape: Shape, gated: bool = False, **more: object) -> PartCounts:
    """Of plain matrices with biases."""
    rows = len(shape.heads)
    products = 3 if gated else 2
    settings: dict[str, object] = {
        "outside_layers": 500,
        "outside_bytes": 2000,
        "head": (4 * HIDDEN * HEAD_WIDTH + 3 * HEAD_WIDTH,) * rows,
        "neuron": (products * HIDDEN + products - 1,) * rows,
        "layer": (6 * HIDDEN,) * rows,
        "head_macs": (4 * HIDDEN * HEAD_WIDTH,) * rows,
        "neuron_macs": (products * HIDDEN,) * rows,
        "layer_macs": (0,) * rows,
        "head_bytes": (0,) * rows,
        "neuron_bytes": (0,) * rows,
        "layer_bytes": (0,) * rows,
        "attention_macs": 2 * HEAD_WIDTH,
        "span": (None,) * shape.layers,
        "relative_span": 0,
    }
    return PartCounts(**{**settings, **more})  # type: ignore[arg-type]


def layer_times_of(shape: Shape, seed: int = 0) -> LatencyTable:
    """Times that rise by uneven steps between a few uneven widths."""
    rng = np.random.default_rng([seed, 7])

    def rising(most: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        widths = sorted({0, most, *rng.integers(0, most + 1, 2).tolist()})
        times = [0, *np.cumsum(rng.integers(0, 900, len(widths) - 1)).tolist()]
        return tuple(widths), tuple(times)

    heads, neurons = rising(max(shape.heads)), rising(max(shape.neurons))
    return LatencyTable(*heads, *neurons, layer=200, outside=500, batch_size=1, tokens=9.0, device="a test", threads=1)


def total_score(scores: Scores, plan: Plan) -> float:
    """Of the kept heads and neurons, those below zero counted as zero."""
    total = 0.0
    for kept, values in ((plan.heads, scores.values.heads), (plan.neurons, scores.values.neurons)):
        for row, indices in enumerate(kept):
            if values is not None:
                total += float(np.maximum(values[row][list(indices)], 0).sum())
    return total


def every_plan(shape: Shape) -> list[Plan]:
    """All choices of heads and neurons, every layer kept."""
    parts = [
        (kind, row, i) for kind in ("heads", "neurons") for row, n in enumerate(getattr(shape, kind)) for i in range(n)
    ]
    plans = []
    for choice in product((False, True), repeat=len(parts)):
        kept: dict[str, list[list[int]]] = {kind: [[] for _ in shape.heads] for kind in ("heads", "neurons")}
        for (kind, row, index), stays in zip(parts, choice, strict=True):
            if stays:
                kept[kind][row].append(index)
        plans.append(
            Plan(
                shape,
                tuple(map(tuple, kept["heads"])),
                tuple(map(tuple, kept["neurons"])),
                tuple(range(shape.layers)),
            )
        )
    return plans


@st.composite
def shapes(draw: st.DrawFn, most_heads: int = 5, most_neurons: int = 12) -> Shape:
    """Encoders of 1 to 4 rows of different widths (none included), some with shared weights."""
    rows = draw(st.integers(1, 4))
    heads = draw(st.lists(st.integers(0, most_heads), min_size=rows, max_size=rows))
    neurons = draw(st.lists(st.integers(0, most_neurons), min_size=rows, max_size=rows))
    heads[0] = max(1, heads[0])
    neurons[0] = max(1, neurons[0])
    if draw(st.booleans()):
        return shape_of(heads, neurons)
    return shape_of(heads, neurons, [row for row in range(rows) for _ in range(draw(st.just(3)))])


@st.composite
def encoders(draw: st.DrawFn) -> tuple[Scores, CostModel]:
    """Scores of any method with heads and neurons, and costs that differ between local and global attention."""
    shape = draw(shapes())
    seed = draw(st.integers(0, 2**16))
    method = draw(st.sampled_from(["fisher", "michel", "random"]))
    window = tuple(draw(st.sampled_from([None, 4])) for _ in range(shape.layers))
    gated, span = draw(st.booleans()), draw(st.sampled_from([0, 8]))
    fixed = draw(st.sampled_from([0, 7]))  # what factored matrices cost however few heads and neurons there are
    more = {"window": window, "gated": gated, "relative_span": span, "layer_macs": (fixed,) * len(shape.heads)}
    return scores_of(shape, seed, method), cost_model_of(shape, **more)  # type: ignore[arg-type]


@st.composite
def hands(draw: st.DrawFn, shape: Shape) -> tuple[set[tuple[str, int, int]], set[tuple[str, int, int]]]:
    """(kept, cut) by hand: different heads and neurons."""
    parts = [
        (kind, row, i) for kind in ("heads", "neurons") for row, n in enumerate(getattr(shape, kind)) for i in range(n)
    ]
    some = draw(st.lists(st.sampled_from(parts), unique=True, max_size=6))
    middle = draw(st.integers(0, len(some)))
    return set(some[:middle]), set(some[middle:])


def keeps(plan: Plan, part: tuple[str, int, int]) -> bool:
    kind, row, number = part
    return number in getattr(plan, kind)[row]
