"""Word vectors and lists of words as others publish them: GloVe's text, the .vec of fastText, one word a line.

Lines are in the order of how frequent words are, most frequent first, so the first ones are those that are wanted. A
file may be gzipped. Words that an application needs are looked for beyond the first ones.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asc_core.errors import UserError

MOST_WORDS = 1 << 23  # of a table: beyond this, a file is none of words
MOST_WIDTH = 1 << 13


@dataclass
class WordVectors:
    """words: in the file's order. values: (words, width) float32. width: None where there are words alone."""

    words: list[str] = field(default_factory=list)
    values: np.ndarray | None = None

    @property
    def width(self) -> int | None:
        return None if self.values is None else self.values.shape[1]


def read_vectors(
    path: str | Path, most: int, wanted: Collection[str], as_known: Callable[[str], str | None]
) -> WordVectors:
    """The wanted words of a file and its first others, `most` words in all.

    as_known: a word as it stands in the vocabulary (in lower case, say), None where it can be no word of it; the first
    line of a word counts.
    Raises: UserError where a line is no word with as many numbers as the first.
    """
    words: dict[str, int] = {}
    rows: list[np.ndarray] = []
    wanted, width = set(wanted), None
    others = most - len(wanted)
    for number, line in _lines(path):
        if number == 1 and _is_header(line):
            continue
        if width is None:
            width = _width(line, path, number)
        name, rest = _split(line, width)
        word = as_known(name)
        if word is None or word in words or (word not in wanted and others <= 0):
            continue
        rows.append(_numbers(rest, width, path, number))
        others -= word not in wanted
        words[word] = len(words)
    if not rows:
        raise UserError(f"{path} holds no word vectors: give one word and its numbers a line, apart by spaces.")
    return WordVectors(list(words), np.stack(rows))


def read_words(path: str | Path, most: int, as_known: Callable[[str], str | None]) -> list[str]:
    """The first words of a list, one a line (what follows a tab, such as a count, is left out).

    Raises: UserError where it cannot be read or has none.
    """
    found: dict[str, None] = {}
    for _, line in _lines(path):
        word = as_known(line.strip().split("\t")[0])
        if word is not None and len(found) < most:
            found[word] = None
    if not found:
        raise UserError(f"{path} holds no words: give one a line.")
    return list(found)


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(number, line)"""
    place = Path(path)
    if not place.is_file():
        raise UserError(f"There is no file {path}: name one with a word a line.")
    opened = gzip.open if place.suffix == ".gz" else open
    try:
        with opened(place, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if number == 1 and "\0" in line:
                    raise UserError(f"{path} is no text: give vectors as text (.txt or .vec), one word a line.")
                if line.strip():
                    yield number, line
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _is_header(line: str) -> bool:
    """As fastText and word2vec write it: how many words there are, and how wide their vectors are."""
    parts = line.split()
    return len(parts) == 2 and all(part.isdecimal() for part in parts)


def _width(line: str, path: str | Path, number: int) -> int:
    """Numbers behind the word of the first line."""
    width = len(line.split()) - 1
    if not 1 <= width <= MOST_WIDTH:
        raise UserError(f"{path}, line {number}: {width} numbers behind a word are no vector; give 1 to {MOST_WIDTH}.")
    return width


def _split(line: str, width: int) -> tuple[str, str]:
    """(word, its numbers). A few of GloVe's words have spaces in them, so numbers are counted from the end."""
    parts = line.rstrip().rsplit(" ", width)
    return parts[0].strip(), " ".join(parts[1:])


def _numbers(text: str, width: int, path: str | Path, number: int) -> np.ndarray:
    try:
        found = np.array(text.split(" "), dtype=np.float32)
    except ValueError:
        found = np.zeros(0, np.float32)
    if len(found) != width or not np.isfinite(found).all():
        raise UserError(f"{path}, line {number}: this is no word with {width} numbers, as on the first line.")
    return found
