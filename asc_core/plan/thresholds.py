"""Plans from a threshold or a kept share: ASC's own rule for layers, and cuts by score for every kind of part.

Manual edits (`keep_parts`, `remove_parts`: see `parts.ManualEdits`) are respected by all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from asc_core.errors import UserError
from asc_core.parts import BLOCKS, BLOCKS_OF
from asc_core.plan.parts import (
    ManualEdits,
    Parts,
    best,
    best_heads,
    first_iterations,
    flat_scores,
    rows_of,
    slices,
    to_plan,
    usual_kinds,
)
from asc_core.values import Plan, Scores

ASC_SLACK = 0.01


def redundant_layers(
    similarity: np.ndarray,
    threshold: float,
    exact: bool = False,
    kept: np.ndarray | None = None,
    cut: np.ndarray | None = None,
) -> np.ndarray:
    """ASC's threshold-greedy rule (2409.05368, as in the authors' code): (L,) bool, True = the layer goes.

    Walk the states i = 0..L (0 = embedding output, k = output of the k-th layer), skipping redundant ones; every
    later k with similarity[i, k] >= threshold - 0.01 becomes redundant. `exact` leaves the 0.01 away.

    similarity: (L+1, L+1). kept, cut: (L,) bool, layers that never are and always are redundant.
    Raises: UserError if the matrix is not square, or the threshold is not a number.
    """
    similarity = np.asarray(similarity, dtype=np.float64)
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise UserError(f"A similarity matrix is (layers + 1) x (layers + 1), not {similarity.shape}.")
    _check_number(threshold)
    effective = threshold if exact else threshold - ASC_SLACK
    states = len(similarity)
    never = np.zeros(states, dtype=bool)
    never[0] = True
    redundant = np.zeros(states, dtype=bool)
    if kept is not None:
        never[1:] |= kept
    if cut is not None:
        redundant[1:] |= cut
    for state in range(states):
        if not redundant[state]:
            redundant[state + 1 :] |= (similarity[state, state + 1 :] >= effective) & ~never[state + 1 :]
    return redundant[1:]


def asc_greedy(
    scores: Scores, threshold: float, exact: bool = False, keep_parts: Parts = (), remove_parts: Parts = ()
) -> Plan:
    """Whole layers by ASC's rule (`redundant_layers`) on the scores' similarity matrix.

    Where layers share weights (ALBERT) as many iterations stay as there are layers left.

    Args:
        scores: by asc-a or asc-b.
        threshold: similarity from which a layer is redundant.
        exact: without the authors' slack of 0.01.
        keep_parts, remove_parts: manual edits, see `parts.ManualEdits`.

    Raises:
        UserError: if the scores have no similarity matrix, or the threshold would remove every layer.
    """
    edits = ManualEdits.of(scores.shape, keep_parts, remove_parts)
    matrix = asc_similarity(scores)
    redundant = redundant_layers(matrix, threshold, exact, edits.held_layers, edits.remove.layers)
    if redundant.all():
        slack = 0.0 if exact else ASC_SLACK
        raise UserError(
            f"At similarity {threshold:g} ASC's rule finds every layer redundant; "
            f"choose a threshold above {matrix[0, 1:].min() + slack:.4f}."
        )
    rule = f"ASC greedy, similarity >= {threshold:g}" + ("" if exact else f" - {ASC_SLACK:g}")
    return to_plan(scores, edits, ~edits.remove.heads, ~edits.remove.neurons, ~redundant, rule)


def asc_similarity(scores: Scores) -> np.ndarray:
    """The (L+1, L+1) matrix. Raises: UserError if the method has none or it does not fit the shape."""
    matrix = scores.similarity
    if matrix is None:
        raise UserError(f"ASC's rule needs the similarity matrix of asc-a or asc-b; {scores.method} has none.")
    if matrix.shape != (scores.shape.layers + 1,) * 2 or not np.isfinite(matrix).all():
        raise UserError(f"The similarity matrix of {scores.method} does not fit {scores.shape}; score again.")
    return matrix


def by_threshold(
    scores: Scores,
    threshold: float | Mapping[str, float],
    kinds: Sequence[str] | None = None,
    min_heads: int = 0,
    keep_parts: Parts = (),
    remove_parts: Parts = (),
) -> Plan:
    """Remove every part whose score is below the threshold.

    Args:
        scores: of one method on one task.
        threshold: one for all `kinds`, or one for each kind as a mapping (then `kinds` is not needed).
        kinds: of heads, neurons, attention, ffn, layers; by default heads and neurons, as far as the method scores
            them, else sublayers, else layers. attention and ffn remove all heads or neurons of a row.
        min_heads: so many of a layer's best heads stay, whatever their score (fewer where fewer are left by hand).
        keep_parts, remove_parts: manual edits, see `parts.ManualEdits`.

    Raises:
        UserError: if the method has no scores of a kind, or the threshold would remove every layer.
    """
    shape = scores.shape
    thresholds = (
        dict(threshold) if isinstance(threshold, Mapping) else dict.fromkeys(kinds or usual_kinds(scores), threshold)
    )
    edits = ManualEdits.of(shape, keep_parts, remove_parts)
    keep = {kind: np.full(sum(getattr(shape, kind)), True) for kind in BLOCKS}
    layers = np.full(shape.layers, True)
    for kind, value in thresholds.items():
        _check_number(value)
        flat = flat_scores(scores, kind)
        above = flat >= value
        if kind == "layers":
            if not (above | edits.held_layers).any():
                raise UserError(f"A threshold of {value:g} removes every layer; the highest score is {flat.max():g}.")
            layers = above
        elif kind in BLOCKS_OF:
            keep[BLOCKS_OF[kind]] &= above[rows_of(shape, BLOCKS_OF[kind])]
        else:
            keep[kind] &= above
    if min_heads:
        keep["heads"] |= best_heads(scores, min_heads, edits)
    rule = ", ".join(f"{kind} scored >= {value:g}" for kind, value in thresholds.items())
    return to_plan(scores, edits, keep["heads"], keep["neurons"], layers, rule + minimum_note(min_heads))


def by_share(
    scores: Scores,
    keep_heads: float | None = None,
    keep_neurons: float | None = None,
    keep_layers: float | None = None,
    scope: Literal["layer", "global"] = "layer",
    min_heads: int = 0,
    keep_parts: Parts = (),
    remove_parts: Parts = (),
) -> Plan:
    """Keep the best share of the heads, neurons and layers: as many as share x count rounds to (halves up).

    A share of None leaves that kind whole. Hand-set parts count towards the number; among equal scores the first
    stay. At least one layer stays.

    Args:
        scores: of one method on one task.
        keep_heads, keep_neurons, keep_layers: shares from 0 to 1.
        scope: layer = the same share of every row, global = ranked over the whole encoder.
        min_heads, keep_parts, remove_parts: as in `by_threshold`.

    Raises:
        UserError: if a share is not between 0 and 1, or the method has no scores of that kind.
    """
    shape = scores.shape
    edits = ManualEdits.of(shape, keep_parts, remove_parts)
    if scope not in ("layer", "global"):
        raise UserError(f"The scope of a share is layer or global, not {scope!r}.")
    keep = {kind: np.full(sum(getattr(shape, kind)), True) for kind in BLOCKS}
    for kind, share in (("heads", keep_heads), ("neurons", keep_neurons)):
        if share is None:
            continue
        flat = flat_scores(scores, kind)
        kept, cut = getattr(edits.keep, kind), getattr(edits.remove, kind)
        if kind == "heads" and min_heads:
            kept = kept | best_heads(scores, min_heads, edits)
        for group in [slice(0, len(flat))] if scope == "global" else slices(shape, kind):
            keep[kind][group] = best(flat[group], _count(share, group.stop - group.start), kept[group], cut[group])
    layers = np.full(shape.layers, True)
    if keep_layers is not None:
        if shape.shares_weights:
            layers = first_iterations(shape, max(1, _count(keep_layers, shape.layers // len(shape.heads))))
        else:
            flat, count = flat_scores(scores, "layers"), max(1, _count(keep_layers, shape.layers))
            layers = best(flat, count, edits.held_layers, edits.remove.layers)
    shares = (("heads", keep_heads), ("neurons", keep_neurons), ("layers", keep_layers))
    rule = ", ".join(f"best {share:.4g} of the {kind}" for kind, share in shares if share is not None) or "all"
    where = " of each layer" if scope == "layer" else ""
    return to_plan(scores, edits, keep["heads"], keep["neurons"], layers, rule + where + minimum_note(min_heads))


def minimum_note(min_heads: int) -> str:
    """For a plan's rule."""
    if not min_heads:
        return ""
    return f", at least {min_heads} {'heads' if min_heads > 1 else 'head'} a layer"


def _count(share: float, of: int) -> int:
    if not 0 <= share <= 1:
        raise UserError(f"A share lies between 0 and 1, so {share:g} cannot be kept.")
    return math.floor(share * of + 0.5 + 1e-9)


def _check_number(threshold: float) -> None:
    if math.isnan(threshold):
        raise UserError("The threshold is not a number.")
