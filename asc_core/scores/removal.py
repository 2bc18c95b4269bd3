"""The loss while more and more parts are removed in the order of a score: the test that a score exists for.

Correlation with single ablations says nothing of parts that stand in for one another; removing them together does. A
score whose order keeps the loss low has the smaller area under this curve. The area is that above the dense model's
loss, divided by the area of a random order (mean of 3 seeds): 0 = removing costs nothing, 1 = no better than chance.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.gates import gated
from asc_core.parts import BLOCKS, REMOVABLE
from asc_core.plan.parts import flat_scores, slices
from asc_core.progress import Progress, removing
from asc_core.scores.data_fingerprint import data_fingerprint
from asc_core.scores.streaming import replicate_weights
from asc_core.study import SECONDS_BETWEEN_SAVES, Study
from asc_core.tasks.base import Task
from asc_core.values import Plan, Scores, Shape

POINTS = 10
RANDOM_SEEDS = (0, 1, 2)
REPLICATES = 1000
_STATE_VERSION = 1


@dataclass(frozen=True)
class Removal:
    """Losses of held-out examples while parts of one kind are removed in several orders, the lowest scores first.

    removed: (points,) share of the parts that is gone, from 0 on. losses: order -> (examples, points), sums over an
    example's windows. chance: (random orders, examples, points). windows: (examples,). numbers: (examples,) their
    places in the split.
    """

    kind: str
    removed: np.ndarray
    losses: Mapping[str, np.ndarray]
    chance: np.ndarray
    windows: np.ndarray
    numbers: np.ndarray
    split: str

    def curve(self, order: str) -> np.ndarray:
        """(points,) mean loss."""
        return np.asarray(self.losses[order].sum(0) / self.windows.sum())

    @property
    def chance_curve(self) -> np.ndarray:
        """(points,) mean over the random orders."""
        return np.asarray(self.chance_curves.mean(0))

    @property
    def chance_curves(self) -> np.ndarray:
        """(random orders, points) mean loss of each: how far chance alone carries."""
        return np.asarray(self.chance.sum(1) / self.windows.sum())

    def relative_auc(self, order: str) -> float:
        """Under the curve, relative to a random order; NaN where removing parts at random costs nothing either."""
        return float(self._relative_aucs(order, np.ones((1, len(self.windows))))[0])

    def drawn_relative_aucs(self, order: str, seed: int = 0) -> np.ndarray:
        """(replicates,) `relative_auc` on Poisson bootstrap draws of the examples, the same draws for every order.

        The random orders stay as they are: that there are only 3 of them is not in the interval.
        """
        weights = replicate_weights(seed, self.numbers, REPLICATES).astype(np.float64)
        return self._relative_aucs(order, weights[weights.sum(1) > 0])

    def _relative_aucs(self, order: str, weights: np.ndarray) -> np.ndarray:
        """weights: (draws, examples) -> (draws,)"""
        own = self._excess(self.losses[order], weights)
        chance = self._excess(self.chance.mean(0), weights)
        return np.divide(own, chance, out=np.full_like(own, np.nan), where=chance > 0)

    def _excess(self, losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
        curve = (weights @ losses) / (weights @ self.windows)[:, None]
        return np.asarray(np.trapezoid(curve - curve[:, :1], self.removed, axis=1))


def ascending(scores: Scores, kind: str) -> np.ndarray:
    """(parts,) flat indices, those with the lowest scores first; the last among equals, as plans take them."""
    return np.argsort(-flat_scores(scores, kind), kind="stable")[::-1]


def remove_in_order(
    encoder: Encoder,
    task: Task,
    orders: Mapping[str, np.ndarray],
    kind: str = "heads",
    *,
    points: int = POINTS,
    random_seeds: Sequence[int] = RANDOM_SEEDS,
    split: str = "validation",
    samples: int | None = 256,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    study: Study | None = None,
) -> Removal:
    """Gated evaluation at `points` shares from 0 to 1 of the parts removed, for each order and for random ones.

    orders: name -> (parts,) flat indices, the first go first. kind: heads, neurons, or layers, of which the last one
    stays. split: other examples than those that the scores were made of. What two orders have in common (the ends at
    least) is computed once. study: a run that was cancelled or killed goes on with the batch that it was in.

    Raises: UserError (task without labels, layers that share weights, unknown kind), Cancelled.
    """
    _check(encoder, task, kind)
    progress = progress or Progress()
    shape = encoder.shape
    counts = _counts(shape, kind, points)
    generators = {f"random {s}": np.random.default_rng((s, 3)) for s in random_seeds}
    chance = {name: generator.permutation(_parts(shape, kind)) for name, generator in generators.items()}
    every = [*orders.values(), *chance.values()]
    plans = {plan.key: plan for order in every for plan in (_without(shape, kind, order[:n]) for n in counts)}

    examples = task.examples(split, samples, seed)
    features = task.features(examples, encoder)
    tokens = batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)
    batches = batches_by_length(features.lengths, tokens)
    wanted = hashlib.sha256("".join(plans).encode()).hexdigest()
    texts = data_fingerprint(task, split, samples, seed)
    key = json.dumps(["removal", _STATE_VERSION, encoder.weights, task.name, texts, split, seed, tokens, wanted])
    saved = study.partial(key) if study is not None else None
    loss = np.array(saved[0]["loss"]) if saved is not None else np.zeros((len(features), len(plans)))
    done = started_with = int(saved[1]["batches"]) if saved is not None else 0
    last_save, finished = time.monotonic(), sum(map(len, batches[:done])) * len(plans)
    total, what = len(features) * len(plans), f"removing {kind} on {task.name}"
    try:
        for rows in batches[done:]:
            batch = task.batch(features, rows, encoder)
            for column, plan in enumerate(plans.values()):
                progress.step(finished, total, what, removing(kind))
                with torch.inference_mode(), gated(encoder, plan):
                    loss[rows, column] = task.loss(encoder.model(**batch.inputs), batch).cpu().numpy()
                finished += len(rows)
            done += 1
            if study is not None and time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                study.save_partial(key, {"loss": loss}, {"batches": done})
                last_save, started_with = time.monotonic(), done
        progress.step(total, total, what, removing(kind))
    except BaseException:
        if study is not None and done > started_with:
            study.save_partial(key, {"loss": loss}, {"batches": done})
        raise
    if study is not None:
        study.drop_partial(key)

    starts = np.flatnonzero(np.diff(features.example, prepend=-1))
    per_example = np.add.reduceat(loss, starts)
    column_of = {name: column for column, name in enumerate(plans)}

    def along(order: np.ndarray) -> np.ndarray:
        return per_example[:, [column_of[_without(shape, kind, order[:n]).key] for n in counts]]

    return Removal(
        kind,
        np.asarray(counts) / _parts(shape, kind),
        {name: along(order) for name, order in orders.items()},
        np.stack([along(order) for order in chance.values()]),
        np.diff(starts, append=len(features)),
        examples.numbers,
        examples.split,
    )


def _check(encoder: Encoder, task: Task, kind: str) -> None:
    if kind not in REMOVABLE:
        raise UserError(f"There are no parts called {kind!r} to remove in order; choose from {', '.join(REMOVABLE)}.")
    if kind == "layers" and encoder.shape.shares_weights:
        raise UserError(
            f"The layers of this {encoder.shape.architecture} encoder share weights, so none can be removed alone."
        )
    if not task.labelled:
        raise UserError(f"The curve shows the loss, and the task {task.name} has no labels: name its label field.")


def _parts(shape: Shape, kind: str) -> int:
    return shape.layers if kind == "layers" else sum(getattr(shape, kind))


def _counts(shape: Shape, kind: str, points: int) -> list[int]:
    """How many parts are gone at each point."""
    parts = _parts(shape, kind)
    most = parts - 1 if kind == "layers" else parts
    return sorted({round(share * most) for share in np.linspace(0, 1, points)})


def _without(shape: Shape, kind: str, gone: np.ndarray) -> Plan:
    kept = np.ones(_parts(shape, kind), dtype=bool)
    kept[gone] = False
    if kind == "layers":
        return Plan.from_masks(shape, layers=kept)
    masks = {k: [kept[row] for row in slices(shape, k)] for k in BLOCKS if k == kind}
    return Plan.from_masks(shape, **masks)  # type: ignore[arg-type]
