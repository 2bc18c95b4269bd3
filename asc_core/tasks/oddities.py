"""What is odd about the examples of a split, whatever model reads them: said, since no figure shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from asc_core.tasks.base import Row

SHARE = 0.01  # of the examples, from which on duplicates are spoken of
Key = int


def text_key(row: Row, columns: Sequence[str]) -> Key:
    """By which two examples have the same text: case and blanks make no difference. A hash, since there are many."""
    return hash(tuple(" ".join(str(row.get(column)).casefold().split()) for column in columns))


@dataclass(frozen=True)
class Oddities:
    """sentences: what is to be said. The counts are of examples.

    duplicates: with the text of an earlier one. differ: of these, with another label. in_train: whose text stands in
    train, None where this is train, or train is not known. constant: the label that all have, None where they differ.
    """

    sentences: tuple[str, ...]
    duplicates: int
    differ: int
    in_train: int | None
    constant: str | None


def oddities(
    rows: Sequence[Row],
    where: Callable[[int], str],
    columns: Sequence[str],
    labels: Sequence[str] | None,
    train: Iterable[Key] | None = None,
) -> Oddities:
    """Duplicates, texts with two labels, a target that never changes, and texts of train.

    where(i): the place of row i, for messages. columns: of the text. labels: one text an example, None where there is
    no such thing. train: the keys of the texts in train, None for train itself.
    """
    said: list[str] = []
    first: dict[Key, int] = {}
    twice: list[tuple[int, int]] = []
    differ: list[tuple[int, int]] = []
    for index, row in enumerate(rows):
        key = text_key(row, columns)
        before = first.setdefault(key, index)
        if before != index:
            twice.append((before, index))
            if labels is not None and labels[before] != labels[index]:
                differ.append((before, index))
    n = len(rows)
    if differ:
        before, index = differ[0]
        said.append(
            f"{len(differ)} of {n} examples have the text of another and a different label, such as {where(before)} "
            f"({labels[before]}) and {where(index)} ({labels[index]})."  # type: ignore[index]
        )
    if len(twice) > max(SHARE * n, len(differ)):
        before, index = twice[0]
        said.append(
            f"{len(twice)} of {n} examples have the same text as another, such as {where(before)} and {where(index)}."
        )
    constant = labels[0] if labels is not None and n > 1 and len(set(labels)) == 1 else None
    if constant is not None:
        said.append(f"All {n} examples have the same label, {constant}: no figure says anything about a model here.")
    count = None
    if train is not None:
        shared = first.keys() & set(train)
        count = sum(text_key(row, columns) in shared for row in rows) if shared else 0
        if count > SHARE * n:
            at = min(first[key] for key in shared)
            said.append(f"{count} of {n} examples stand in train too, such as {where(at)}: figures here are too good.")
    return Oddities(tuple(said), len(twice), len(differ), count, constant)
