"""All that can be said of a task, and of whether an encoder fits it, before anything is scored or trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.tasks.base import Examples, Features, Reader, Task
from asc_core.tasks.table_task import TableTask
from asc_core.tasks.texts import unlabelled
from asc_core.tasks.tokens import unknown_share

TOKENISED = 10_000  # examples of a split, at most, by default
SHOWN = 20  # labels
QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Spread:
    """Of numbers: the median, the 90th and 99th percentile, and the ends."""

    lowest: float
    median: float
    p90: float
    p99: float
    highest: float

    @staticmethod
    def of(values: Sequence[float] | np.ndarray) -> Spread | None:
        if not len(values):
            return None
        array = np.asarray(values, dtype=np.float64)
        return Spread(float(array.min()), *(float(q) for q in np.quantile(array, QUANTILES, method="inverted_cdf")))

    def __str__(self) -> str:
        return f"median {self.median:g}, 90 % {self.p90:g}, 99 % {self.p99:g}, longest {self.highest:g}"


@dataclass(frozen=True)
class Tokens:
    """Of the examples that were tokenised. lengths: of what the encoder gets (windows count for themselves).

    limit: tokens of a text at most. truncated: examples that lost text to it. unknown: share of the tokens.
    """

    examples: int
    lengths: Spread
    limit: int
    truncated: int
    unknown: float


@dataclass(frozen=True)
class SplitCheck:
    """One split. labels: how often each occurs, None where they are numbers or there are none. words: in an example.

    The other counts are those of `Oddities`. problem: why it cannot be read, and then everything else is empty.
    """

    split: str
    examples: int = 0
    labels: dict[str, int] | None = None
    numbers: Spread | None = None
    words: Spread | None = None
    tokens: Tokens | None = None
    duplicates: int = 0
    differ: int = 0
    in_train: int | None = None
    constant: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class Check:
    """matches: each of the task's labels -> the encoder's output for it, None without an encoder or without a match.

    problems: what keeps the task, or the encoder on it, from being used. notes: what was guessed, and what is odd.
    """

    task: str
    kind: str
    labelled: bool
    metric: str
    splits: tuple[SplitCheck, ...]
    encoder: str | None
    matches: dict[str, str] | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """As people read it."""
        labels = "" if self.labelled else ", without labels"
        yield f"{self.task}: {self.kind}{labels}; metric: {self.metric}"
        for one in self.splits:
            yield from _lines_of(one)
        if self.matches:
            shown = [f"{ours} = {theirs}" for ours, theirs in list(self.matches.items())[:SHOWN]]
            more = f", ... ({len(self.matches)} in all)" if len(self.matches) > SHOWN else ""
            yield f"labels = outputs of {self.encoder}: {', '.join(shown)}{more}"
        for note in self.notes:
            yield f"note: {note}"


def check_task(
    task: Task, reader: Reader | None = None, limit: int = TOKENISED, seed: int = 0, progress: Progress | None = None
) -> Check:
    """Reads every split, and with an encoder tokenises up to `limit` examples of each, drawn by seed.

    A split that cannot be read, or labels that do not match, are reported, not raised. Raises: UserError where the task
    is none of examples in a table.
    """
    if not isinstance(task, TableTask):
        raise UserError(f"{task.name} is not made of a table of examples, so there is nothing to check.")
    progress = progress or Progress()
    found: list[SplitCheck] = []
    problems: list[str] = []
    notes: list[str] = []
    names = sorted(task.splits, key=lambda split: split != "train")  # first, so that its texts are found in the others
    for done, split in enumerate(names):
        progress.step(done, len(names), f"reading {split}")
        try:
            examples = task.examples(split)
            found.append(_of_split(task, examples, reader, limit, seed, notes, problems))
        except UserError as error:
            found.append(SplitCheck(split, problem=str(error)))
            problems.append(str(error))
    progress.step(len(names), len(names), "reading")
    matches = None
    if reader is not None and task.labelled:
        try:
            matches = task.matches(reader)
        except UserError as error:
            problems.append(str(error))
    found.sort(key=lambda one: task.splits.index(one.split))
    return Check(
        task.name,
        task.kind,
        task.labelled,
        _metric(task, problems),
        tuple(found),
        None if reader is None else reader.name,
        matches,
        tuple(dict.fromkeys(problems)),
        tuple(dict.fromkeys(notes)),
    )


def _of_split(
    task: TableTask,
    examples: Examples,
    reader: Reader | None,
    limit: int,
    seed: int,
    notes: list[str],
    problems: list[str],
) -> SplitCheck:
    odd = task.oddities(examples)
    numbers = task.label_numbers(examples)
    notes += examples.notes
    tokens = None
    if reader is not None:
        drawn = examples if len(examples) <= limit else task.examples(examples.split, limit, seed)
        try:
            tokens = _tokens(task, drawn, reader, notes)
        except UserError as error:
            problems.append(str(error))
    return SplitCheck(
        examples.split,
        len(examples),
        task.label_counts(examples),
        Spread.of(numbers or ()),
        Spread.of([_words(row, task.setup.texts) for row in examples.rows]),
        tokens,
        odd.duplicates,
        odd.differ,
        odd.in_train,
        odd.constant,
    )


def _tokens(task: TableTask, examples: Examples, reader: Reader, notes: list[str]) -> Tokens | None:
    """Also where the labels do not match, which is said elsewhere. Raises: UserError."""
    features = _features(task, examples, reader)
    notes += [note for note in features.notes if note not in examples.notes]
    lengths = Spread.of(features.lengths)
    if lengths is None:
        return None
    unknown = unknown_share(reader, features.input_ids)
    return Tokens(len(examples), lengths, task.token_limit(reader), features.truncated, unknown)


def _features(task: TableTask, examples: Examples, reader: Reader) -> Features:
    if task.labelled:
        try:
            task.matches(reader)
        except UserError:
            return unlabelled(task).features(examples, reader)
    return task.features(examples, reader)


def _metric(task: TableTask, problems: list[str]) -> str:
    try:
        return task.metric.name
    except UserError as error:
        problems.append(str(error))
        return "none"


def _words(row: Any, columns: Sequence[str]) -> int:
    return sum(len(cell if isinstance(cell, list) else str(cell).split()) for cell in (row[c] for c in columns))


def _lines_of(one: SplitCheck) -> Iterator[str]:
    if one.problem:
        yield f"{one.split}: cannot be used"
        return
    yield f"{one.split}: {one.examples:,} examples"
    if one.labels is not None:
        shown = [f"{name} {count:,}" for name, count in list(one.labels.items())[:SHOWN]]
        more = f", ... ({len(one.labels)} in all)" if len(one.labels) > SHOWN else ""
        yield f"  labels      {', '.join(shown)}{more}"
    if one.numbers is not None:
        ends = f"from {one.numbers.lowest:g} to {one.numbers.highest:g}"
        yield f"  labels      numbers {ends}, median {one.numbers.median:g}"
    if one.words is not None:
        yield f"  words       {one.words}"
    if one.tokens is not None:
        seen = one.tokens
        drawn = "" if seen.examples == one.examples else f" (of {seen.examples:,} drawn)"
        yield f"  tokens      {seen.lengths}{drawn}"
        share = f" ({100 * seen.truncated / seen.examples:.1f} %)" if seen.truncated else ""
        yield f"  truncated   {seen.truncated:,}{share}, at {seen.limit} tokens"
        yield f"  unknown     {100 * seen.unknown:.1f} % of the tokens"
    inside = "" if one.in_train is None else f"; {one.in_train:,} with a text of train"
    yield f"  duplicates  {one.duplicates:,}, {one.differ:,} of them with another label{inside}"
