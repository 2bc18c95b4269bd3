"""The parts of an encoder as flat arrays, and those that the user keeps or removes by hand.

Selection works on flat arrays over all rows (no Python loop over neurons); a `Plan` is made once, at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from asc_core.errors import UserError
from asc_core.parts import BLOCKS, BLOCKS_OF, KINDS, SUBLAYERS
from asc_core.values import Plan, Scores, Shape


class Part(NamedTuple):
    """One cell of the map; a plain tuple will do.

    kind: heads, neurons, attention, ffn or layers. row: the row, for layers the layer. number: of the head or neuron;
    None = all of that row, which for heads and neurons is the whole sublayer.
    """

    kind: str
    row: int
    number: int | None = None


Parts = Plan | Iterable[Part | tuple[str, int] | tuple[str, int, int | None]]


@dataclass(frozen=True)
class Masks:
    """Boolean, flat: heads (all rows' heads,), neurons (all rows' neurons,), layers (layers,)."""

    heads: np.ndarray
    neurons: np.ndarray
    layers: np.ndarray

    @staticmethod
    def of(shape: Shape, value: bool) -> Masks:
        return Masks(np.full(sum(shape.heads), value), np.full(sum(shape.neurons), value), np.full(shape.layers, value))

    @staticmethod
    def kept_by(plan: Plan) -> Masks:
        masks = Masks.of(plan.shape, False)
        for kind in BLOCKS:
            start = starts(plan.shape, kind)
            for row, kept in enumerate(getattr(plan, kind)):
                getattr(masks, kind)[start[row] + np.asarray(kept, dtype=np.int64)] = True
        masks.layers[list(plan.layers)] = True
        return masks

    def count(self) -> int:
        return int(self.heads.sum() + self.neurons.sum() + self.layers.sum())


@dataclass(frozen=True)
class ManualEdits:
    """What the user has decided, which every rule respects: True in `keep` stays, True in `remove` goes.

    A layer that is removed by hand goes with all its parts, even with those that are kept by hand. Any other layer
    stays where a part of it is kept by hand.
    """

    shape: Shape
    keep: Masks
    remove: Masks
    held_layers: np.ndarray
    """(layers,) bool: those that stay, kept by hand themselves or for a part of theirs."""

    @staticmethod
    def of(shape: Shape, keep: Parts = (), remove: Parts = ()) -> ManualEdits:
        """From single parts, or from a plan: `keep` = all that it keeps, `remove` = all that it removes.

        Raises: UserError for a part which the shape does not have, or which is both kept and removed.
        """
        kept, removed = _masks(shape, keep, removed=False), _masks(shape, remove, removed=True)
        held_layers = kept.layers
        if not isinstance(keep, Plan):
            held_layers = held_layers | _held_layers(shape, kept) & ~removed.layers
        for kind in (*BLOCKS, "layers"):
            both = np.flatnonzero(getattr(kept, kind) & getattr(removed, kind))
            if both.size:
                raise UserError(
                    f"{_name(shape, kind, int(both[0]))} is to be kept and cut at once; release one of both."
                )
        return ManualEdits(shape, kept, removed, held_layers)

    def layers(self, wanted: np.ndarray) -> np.ndarray:
        """The layers that stay, (layers,) bool, where a rule wants to keep those in `wanted`.

        Where layers share weights (ALBERT) none can go alone: as many iterations stay of every row as cover the
        number of wanted layers, the first ones, within what the hand-set layers allow.
        """
        if not self.shape.shares_weights:
            return (wanted | self.held_layers) & ~self.remove.layers
        rows = np.asarray(self.shape.rows)
        each = [rows == row for row in np.unique(rows)]
        iterations = min(int(of.sum()) for of in each)
        at_least = max(int((of & self.held_layers).sum()) for of in each)
        at_most = iterations - max(int((of & self.remove.layers).sum()) for of in each)
        if at_least > at_most:
            raise UserError(
                f"The layers of this {self.shape.architecture} encoder share weights, so every group keeps the same "
                f"number of iterations: not both at least {at_least} and at most {at_most}. Release a layer."
            )
        count = min(max(-(-int(wanted.sum()) // len(each)), at_least), at_most)
        return first_iterations(self.shape, count)

    @property
    def note(self) -> str:
        """For a plan's rule: how many parts were decided by hand."""
        kept, cut = self.keep.count(), self.remove.count()
        return f"; by hand {kept} kept, {cut} cut" if kept or cut else ""


def _held_layers(shape: Shape, kept: Masks) -> np.ndarray:
    """(layers,) bool: those without which a kept head or neuron would not run; of a shared row the first one."""
    needed = [
        any(getattr(kept, kind)[slices(shape, kind)[row]].any() for kind in BLOCKS) for row in range(len(shape.heads))
    ]
    return np.array([needed[row] and row not in shape.rows[:layer] for layer, row in enumerate(shape.rows)])


def first_iterations(shape: Shape, count: int) -> np.ndarray:
    """(layers,) bool: the first `count` layers of every row."""
    rows = np.asarray(shape.rows)
    seen = np.array([int((rows[:layer] == row).sum()) for layer, row in enumerate(rows)])
    return np.asarray(seen < count)


def starts(shape: Shape, kind: str) -> np.ndarray:
    """(rows + 1,): where each row's heads or neurons begin in a flat array."""
    return np.concatenate(([0], np.cumsum(getattr(shape, kind), dtype=np.int64)))


def slices(shape: Shape, kind: str) -> list[slice]:
    """Where each row's heads or neurons lie in a flat array."""
    start = starts(shape, kind).tolist()
    return [slice(a, b) for a, b in pairwise(start)]


def rows_of(shape: Shape, kind: str) -> np.ndarray:
    """The row of every head or neuron of a flat array."""
    return np.repeat(np.arange(len(shape.heads)), getattr(shape, kind))


def to_plan(
    scores: Scores, edits: ManualEdits, heads: np.ndarray, neurons: np.ndarray, layers: np.ndarray, rule: str
) -> Plan:
    """What a rule wants to keep (flat boolean arrays), with the hand-set parts as they were set."""
    shape = scores.shape
    heads = (heads | edits.keep.heads) & ~edits.remove.heads
    neurons = (neurons | edits.keep.neurons) & ~edits.remove.neurons
    return Plan.from_masks(
        shape,
        [heads[row] for row in slices(shape, "heads")],
        [neurons[row] for row in slices(shape, "neurons")],
        edits.layers(layers),
        scores.provenance(rule + edits.note),
    )


def best(flat: np.ndarray, count: int, kept: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Bool: the `count` highest, with all in `kept` among them and none in `cut`; the first among equals."""
    stay = kept & ~cut
    free = np.flatnonzero(~kept & ~cut)
    ranked = free[np.argsort(-flat[free], kind="stable")]
    stay[ranked[: max(0, count - int(stay.sum()))]] = True
    return stay


def best_heads(scores: Scores, count: int, edits: ManualEdits) -> np.ndarray:
    """(all heads,) bool: each row's `count` best heads, as far as so many are not cut by hand."""
    flat, stay = flat_scores(scores, "heads"), np.zeros(sum(scores.shape.heads), dtype=bool)
    for row in slices(scores.shape, "heads"):
        stay[row] = best(flat[row], count, edits.keep.heads[row], edits.remove.heads[row])
    return stay


def kinds_of(scores: Scores) -> tuple[str, ...]:
    """The kinds of part that the method has scores for, in the order of `KINDS`."""
    return tuple(kind for kind in KINDS if getattr(scores.values, kind) is not None)


def usual_kinds(scores: Scores) -> tuple[str, ...]:
    """What a method's scores are usually cut by: heads and neurons where it has them, else sublayers, else layers."""
    have = kinds_of(scores)
    for level in (BLOCKS, SUBLAYERS, ("layers",)):
        if any(kind in have for kind in level):
            return tuple(kind for kind in level if kind in have)
    raise UserError(f"The method {scores.method} has no scores at all; choose another method.")


def flat_scores(scores: Scores, kind: str) -> np.ndarray:
    """The scores of one kind, float64: (all heads,), (all neurons,), (rows,) or (layers,).

    Raises: UserError where the method has none, or they do not fit the shape, or one is not a finite number.
    """
    shape = scores.shape
    if kind not in KINDS:
        raise UserError(f"There are no parts called {kind!r}; choose from {', '.join(KINDS)}.")
    values = getattr(scores.values, kind)
    if values is None:
        have = ", ".join(kinds_of(scores)) or "nothing"
        raise UserError(f"The method {scores.method} has no scores for {kind}, only for {have}; choose another method.")
    if kind in BLOCKS:
        fits = tuple(len(row) for row in values) == getattr(shape, kind)
        flat = np.concatenate([np.asarray(row, dtype=np.float64) for row in values])
    else:
        flat = np.asarray(values, dtype=np.float64)
        fits = flat.shape == (shape.layers if kind == "layers" else len(shape.heads),)
    if not fits or not np.isfinite(flat).all():
        raise UserError(
            f"The {kind} scores of {scores.method} on {scores.task} do not fit {shape} or hold values that are not "
            "numbers; score again."
        )
    return flat


def _masks(shape: Shape, parts: Parts, removed: bool) -> Masks:
    if isinstance(parts, Plan):
        if parts.shape != shape:
            raise UserError(f"The plan is for {parts.shape}, the scores are for {shape}.")
        kept = Masks.kept_by(parts)
        return Masks(~kept.heads, ~kept.neurons, ~kept.layers) if removed else kept
    masks = Masks.of(shape, False)
    for part in parts:
        kind, row, number = Part(*part)
        blocks = BLOCKS_OF.get(kind, kind)
        if blocks not in (*BLOCKS, "layers"):
            raise UserError(f"There are no parts called {kind!r}; choose from {', '.join(KINDS)}.")
        rows = shape.layers if blocks == "layers" else len(shape.heads)
        if not 0 <= row < rows:
            raise UserError(f"There is no layer {row}: the model has {rows} (counted from 0).")
        if blocks == "layers":
            masks.layers[row] = True
            continue
        count, start = getattr(shape, blocks)[row], starts(shape, blocks)[row]
        if number is None or kind in BLOCKS_OF:
            getattr(masks, blocks)[start : start + count] = True
        elif 0 <= number < count:
            getattr(masks, blocks)[start + number] = True
        else:
            raise UserError(f"There is no {blocks[:-1]} {number} in layer {row}: it has {count} (counted from 0).")
    return masks


def _name(shape: Shape, kind: str, position: int) -> str:
    if kind == "layers":
        return f"Layer {position}"
    row = int(rows_of(shape, kind)[position])
    return f"{kind[:-1].capitalize()} {position - int(starts(shape, kind)[row])} of layer {row}"
