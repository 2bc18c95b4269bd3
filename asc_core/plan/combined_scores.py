"""One set of scores for several applications: what a shared encoder has to keep.

Scores of different applications have no common scale (their losses, or their outputs, differ), so each application's
are first divided by their total over all parts of a kind that it scores: what is combined is a part's share of all that
the application needs. A head is then kept for the application that needs it most (`max`), or for all according to
their weights (`sum`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from asc_core.errors import UserError
from asc_core.parts import BLOCKS, WHOLE
from asc_core.values import PartValues, Scores

Reduction = Literal["max", "sum"]
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


def combined_scores(
    scores: Sequence[Scores], reduce: Reduction = "max", weights: Sequence[float] | None = None
) -> Scores:
    """Scores by one method on several applications, for encoders of one shape, as one.

    They have no intervals, and where several fine-tuned models are behind them, the plan made from them belongs to none
    of these alone (apply it with `transfer`).

    Args:
        scores: one for each application.
        reduce: over applications; max takes the largest of the weighted shares, sum their sum.
        weights: of each application, by default all alike.

    Raises:
        UserError: where shapes or methods differ, or the weights are not one number of 0 or more for each.
    """
    if not scores:
        raise UserError("There are no scores to combine: score two applications or more.")
    first = scores[0]
    if any(s.shape != first.shape for s in scores):
        raise UserError("The encoders of these applications have different shapes: one plan cannot fit them all.")
    if any(s.method != first.method for s in scores):
        named = ", ".join(sorted({s.method for s in scores}))
        raise UserError(f"Scores by different methods ({named}) cannot be combined: take one method for all.")
    if reduce not in REDUCTIONS:
        raise UserError(f"Scores are combined by {' or '.join(REDUCTIONS)}, not {reduce!r}.")
    counts = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    if counts.shape != (len(scores),) or not np.isfinite(counts).all() or (counts < 0).any() or not counts.any():
        raise UserError(f"Give one weight of 0 or more for each of {len(scores)} applications, not all 0.")
    counts = counts / counts.sum()
    shares = [_shares(s.values) for s in scores]
    kinds = set.intersection(*(set(each) for each in shares))
    if not kinds:
        raise UserError(f"{first.method} scores no kind of part on all of these applications.")
    flat = {}
    for kind in kinds:
        each = np.stack([count * share[kind] for count, share in zip(counts, shares, strict=True)])
        flat[kind] = each.max(0) if reduce == "max" else each.sum(0)
    found: dict[str, Any] = {}
    for kind, widths in (("heads", first.shape.heads), ("neurons", first.shape.neurons)):
        if kind in flat:
            found[kind] = tuple(np.split(flat[kind], np.cumsum(widths)[:-1]))
    values = PartValues(**found, **{kind: flat[kind] for kind in WHOLE if kind in flat})
    same = len({s.weights for s in scores}) == 1
    return replace(
        first,
        values=values,
        weights=first.weights if same else "",
        task=" + ".join(s.task for s in scores),
        examples=sum(s.examples for s in scores),
        low=None,
        high=None,
        similarity=None,
        details={},
        notes=f"{reduce}, weights {' : '.join(f'{count:.3g}' for count in counts)}",
    )


def _shares(values: PartValues) -> dict[str, np.ndarray]:
    """Kind -> (parts,). Heads and neurons share one total: what is traded against each other keeps its rate."""
    blocks = {kind: np.concatenate(getattr(values, kind)) for kind in BLOCKS if getattr(values, kind) is not None}
    total = sum(float(np.abs(each).sum()) for each in blocks.values())
    shares = {kind: each / max(total, 1e-300) for kind, each in blocks.items()}
    for kind in WHOLE:
        each = getattr(values, kind)
        if each is not None:
            shares[kind] = each / max(float(np.abs(each).sum()), 1e-300)
    return shares
