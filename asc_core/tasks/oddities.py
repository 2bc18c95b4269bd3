"""What is odd about the examples of a split, whatever model reads them: said, since no figure shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from asc_core.tasks.base import Row

SHARE = 0.01  # of the examples, from which on duplicates are spoken of
Key = int


def text_key(row: Row, columns: Sequence[str]) -> Key:
    """By which two examples have the same text: case and blanks make no difference. A hash, since there are many."""
    return hash(tuple(" ".join(str(row.get(column)).casefold().split()) for column in columns))


def oddities(
    rows: Sequence[Row],
    where: Callable[[int], str],
    columns: Sequence[str],
    labels: Sequence[str] | None,
    train: Iterable[Key] | None = None,
) -> list[str]:
    """Sentences on duplicates, on texts with two labels, on a target that never changes, and on texts of train.

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
    if labels is not None and n > 1 and len(set(labels)) == 1:
        said.append(f"All {n} examples have the same label, {labels[0]}: no figure says anything about a model here.")
    if train is not None:
        shared = first.keys() & set(train)
        count = sum(text_key(row, columns) in shared for row in rows) if shared else 0
        if count > SHARE * n:
            at = min(first[key] for key in shared)
            said.append(f"{count} of {n} examples stand in train too, such as {where(at)}: figures here are too good.")
    return said
