"""Scores that need no data: the size of a part's weights, and chance as the baseline that every method must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asc_core import modeling
from asc_core.scores.method import FromWeights
from asc_core.values import PartValues

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


def magnitude(encoder: Encoder, seed: int = 0) -> PartValues:
    """L2 norm of all weights that go away with a part, biases not counted.

    A head's: its rows of the feeders (q, k, v) and its columns of the readout; a neuron's: its row of the first FFN
    linear (two in a gated FFN) and its column of the readout. A sublayer's or layer's: of all heads and neurons in it.
    """
    table = modeling.architecture_of(encoder.model)
    squares: dict[str, list[np.ndarray]] = {"attention": [], "ffn": []}
    rows = modeling.rows_of(encoder.model)
    for readout in encoder.readouts:
        total = modeling.matrix(readout.linear).detach().double().square().sum(0)
        total = total.view(readout.blocks, readout.width).sum(1)
        for feeder in table.feeders(readout.kind):
            module = modeling.submodule(rows[readout.row], feeder.path)
            if module is not None:
                of_rows = modeling.matrix(module).detach().double().square().sum(1)
                total += modeling.block_sums(encoder.model.config, feeder, of_rows, readout.blocks)
        squares[readout.kind].append(total.cpu().numpy())
    sublayers = {kind: np.asarray([s.sum() for s in each]) for kind, each in squares.items()}
    return PartValues(
        heads=tuple(np.sqrt(s) for s in squares["attention"]),
        neurons=tuple(np.sqrt(s) for s in squares["ffn"]),
        attention=np.sqrt(sublayers["attention"]),
        ffn=np.sqrt(sublayers["ffn"]),
        layers=np.sqrt((sublayers["attention"] + sublayers["ffn"])[list(encoder.shape.rows)]),
    )


def chance(encoder: Encoder, seed: int = 0) -> PartValues:
    """Uniform numbers in [0, 1), drawn for each kind of part by itself, so that one kind's do not move another's."""
    shape = encoder.shape

    def draw(stream: int, counts: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        generator = np.random.default_rng((seed, stream))
        return tuple(generator.random(count) for count in counts)

    return PartValues(
        heads=draw(0, shape.heads),
        neurons=draw(1, shape.neurons),
        attention=draw(2, (len(shape.heads),))[0],
        ffn=draw(3, (len(shape.heads),))[0],
        layers=draw(4, (shape.layers,))[0],
    )


METHODS = (
    FromWeights(
        id="magnitude",
        title="Magnitude of weights",
        description="L2 norm of the weights that go away with the part. Data-free.",
        source="Han et al. 2015, arXiv 1506.02626, for structures",
        values=magnitude,
    ),
    FromWeights(
        id="random",
        title="Random",
        description="Numbers drawn by seed: what any other method must beat.",
        source="baseline",
        values=chance,
        reference=True,
    ),
)
