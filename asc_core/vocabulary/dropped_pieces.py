"""Texts that a shorter vocabulary spells in other pieces, evaluated apart from those that it reads as before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.estimates import estimate
from asc_core.evaluate.features import tokenised
from asc_core.evaluate.per_example import PerExampleResult, measure
from asc_core.progress import Progress
from asc_core.tasks.base import Metric, Reader, Task
from asc_core.values import Estimate
from asc_core.values.shown import percent, points


@dataclass(frozen=True)
class Changed:
    """Which examples of a split have a token whose row is gone.

    numbers: (examples,) in the split. changed: (examples,) bool. coverage: share of the tokens that are kept.
    """

    split: str
    numbers: np.ndarray
    changed: np.ndarray
    coverage: float

    @property
    def share(self) -> float:
        return float(self.changed.mean()) if len(self.changed) else 0.0


@dataclass(frozen=True)
class Apart:
    """What a shorter vocabulary costs where it is felt, and where it is not.

    on_changed, on_rest: of the examples with a dropped piece and of all others; None where there are none, or so few
    that the metric has no value on them. rows: of the shorter table. original_rows: of the original's.
    """

    rows: int
    original_rows: int
    changed: Changed
    on_changed: Estimate | None
    on_rest: Estimate | None

    @property
    def notes(self) -> tuple[str, ...]:
        """For a card or a page, in sentences."""
        split = self.changed.split
        count, total = int(self.changed.changed.sum()), len(self.changed.changed)
        said = (
            f"{self.rows:,} of {self.original_rows:,} tokens stay: they are {percent(self.changed.coverage)} of what "
            f"stands in the {split} texts, and {count:,} of {total:,} examples ({percent(self.changed.share)}) have a "
            "token that is gone."
        )
        parts = [("with a dropped token", self.on_changed, count), ("without one", self.on_rest, total - count)]
        return (said, *(_said(name, found, some) for name, found, some in parts if some))


def _said(name: str, found: Estimate | None, count: int) -> str:
    if found is None:
        return f"On the {count:,} examples {name} the metric has no value: they are too few."
    low, high = found.interval
    said = f"On the {count:,} examples {name}: {found.metric} {percent(found.value)} [{percent(low)}, {percent(high)}]"
    if found.difference is not None and found.difference_interval is not None:
        ends = ", ".join(map(points, found.difference_interval))
        said += f", {points(found.difference)} points [{ends}] to the original"
    return f"{said}."


def is_shorter(original: Encoder, smaller: Encoder) -> bool:
    """Whether the smaller one's tokens are a part of the original's."""
    if original.tokenizer is smaller.tokenizer or original.tokenizer is None or smaller.tokenizer is None:
        return False
    return bool(smaller.tokenizer.get_vocab().keys() < original.tokenizer.get_vocab().keys())


def kept_of(original: Encoder, smaller: Encoder) -> list[int]:
    """Numbers, in the original's table, of the tokens that the smaller one has."""
    ids = original.tokenizer.get_vocab()
    return sorted(ids[token] for token in smaller.tokenizer.get_vocab())


def changed_examples(
    original: Reader, kept: list[int], task: Task, split: str, limit: int | None = None, seed: int = 0
) -> Changed:
    """Examples whose tokens are not all kept; the others are read as before. kept: the original's numbers.

    Raises: UserError as the task does.
    """
    examples, features = tokenised(original, task, split, limit, seed)
    stays = np.zeros(max(original.tokens, max(kept, default=0) + 1), bool)
    stays[kept] = True
    changed = np.zeros(len(examples), bool)
    there = total = 0
    for ids, example in zip(features.input_ids, features.example, strict=True):
        known = stays[ids]
        there, total = there + int(known.sum()), total + len(ids)
        changed[example] |= not known.all()
    return Changed(split, examples.numbers, changed, there / max(total, 1))


def evaluate_apart(
    original: Encoder,
    smaller: Encoder,
    task: Task,
    split: str = "validation",
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    before: PerExampleResult | None = None,
    after: PerExampleResult | None = None,
) -> Apart:
    """Measure what a shorter vocabulary costs on texts with a dropped piece and on the rest, paired with the original.

    smaller: made of the original, also by other steps: then both parts hold their cost, and the rest holds it alone.
    before, after: what the two did on at least these examples, where that is known.
    Raises: UserError where the smaller one's vocabulary is no part of the original's, or as `evaluate`; Cancelled.
    """
    if not is_shorter(original, smaller):
        raise UserError(f"{smaller.name} has all tokens of {original.name}: there are no dropped pieces to look at.")
    changed = changed_examples(original, kept_of(original, smaller), task, split, limit, seed)
    if before is None:
        before = measure(original, task, split, limit=limit, seed=seed, progress=progress)
    if after is None:
        reference = None if task.labelled else before
        after = measure(smaller, task, split, reference=reference, limit=limit, seed=seed, progress=progress)
    return apart(smaller.tokens, original.tokens, changed, task.metric, before, after)


def apart(
    rows: int,
    original_rows: int,
    changed: Changed,
    metric: Metric,
    before: PerExampleResult,
    after: PerExampleResult,
) -> Apart:
    """The same of what was measured before. before, after: on at least those examples."""
    parts = []
    for wanted in (changed.changed, ~changed.changed):
        numbers = np.sort(changed.numbers[wanted])
        parts.append(_estimated(_part(after, numbers), metric, before) if len(numbers) else None)
    return Apart(rows, original_rows, changed, *parts)


def notes_on_dropped(
    original: Encoder, smaller: Encoder, task: Task, before: PerExampleResult, after: PerExampleResult
) -> tuple[str, ...]:
    """What is to be said of a measurement of the whole split where rows are gone; () where none are.

    before, after: what the two did on the same examples.
    """
    if not is_shorter(original, smaller):
        return ()
    changed = changed_examples(original, kept_of(original, smaller), task, after.split)
    return apart(smaller.tokens, original.tokens, changed, task.metric, before, after).notes


def _part(whole: PerExampleResult, numbers: np.ndarray) -> PerExampleResult:
    """Of some examples alone, as a measurement of its own."""
    return replace(
        whole,
        numbers=numbers,
        statistics=whole.statistics[whole.positions(numbers)],
        total=len(numbers),
        truncated=0,
        predictions=None,
        feature_example=None,
        before=None,
        notes=(),
    )


def _estimated(part: PerExampleResult, metric: Metric, before: PerExampleResult) -> Estimate | None:
    """None where so few examples give the metric no value (a correlation of one)."""
    try:
        return estimate(part, metric, replace(before, notes=()))
    except (UserError, ValueError):
        return None
