"""The gold answers of a question, in the forms that files have, and where they stand in the context."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np

from asc_core.tasks.cells import unpacked

Answers = list[tuple[str, int | None]]  # (text, first character or None where the file does not say)


def answers_of(value: Any) -> Answers | None:
    """Hub rows (lists in a dict), SQuAD JSON (dicts in a list), bare texts, and any of these as text in a table.

    Returns [] where there is no answer, None where the value is none of these.
    """
    value = unpacked(value)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    if isinstance(value, str):
        pairs: list[tuple[Any, Any]] = [(value, None)]
    elif isinstance(value, dict):
        texts = _listed(value.get("text"))
        starts = _listed(value.get("answer_start"))
        pairs = list(zip(texts, [*starts, *[None] * len(texts)], strict=False))
    elif isinstance(value, list):
        pairs = [(e.get("text"), e.get("answer_start")) if isinstance(e, dict) else (e, None) for e in value]
    else:
        return None
    pairs = [(text, start) for text, start in pairs if text is not None]
    if not all(isinstance(text, str) for text, _ in pairs):
        return None
    return [(text, _whole(start)) for text, start in pairs if text.strip()]


def _listed(value: Any) -> list[Any]:
    value = unpacked(value)
    return value if isinstance(value, list) else [] if value is None else [value]


def _whole(start: Any) -> int | None:
    """12, 12.0, "12" and "12.0" as 12; None for whatever is no whole number."""
    try:
        number = float(start)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() and 0 <= number < 1 << 53 else None


def is_plain(value: Any, context: str) -> bool:
    """Whether answers need no other reading: as on the hub, and where they are said to stand."""
    if not isinstance(value, dict) or not isinstance(value.get("text"), list):
        return False
    texts, starts = value["text"], value.get("answer_start")
    return (
        isinstance(starts, list)
        and len(starts) == len(texts)
        and all(isinstance(start, int) and not isinstance(start, bool) and start >= 0 for start in starts)
        and all(isinstance(text, str) and text.strip() for text in texts)
        and all(context[start : start + len(text)] == text for text, start in zip(texts, starts, strict=True))
    )


def place(text: str, start: int | None, context: str) -> tuple[int, int, str] | None:
    """(first, one past the last character, what had to be assumed) of an answer, None where it does not stand there.

    Offsets that are a little off, or counted in bytes, give way to the nearest place where the text stands. Blanks
    around and between words and Unicode's forms of one character make no difference.
    """
    if start is not None and context[start : start + len(text)] == text:
        return start, start + len(text), ""
    near = start or 0
    exact = [m.start() for m in re.finditer(re.escape(text), context)]
    if exact:
        first = min(exact, key=lambda found: abs(found - near))
        if start is not None:
            how = "answers stand at another place than answer_start says, and the nearest was taken"
        else:
            how = "answers have no answer_start, and the first place where they stand in the context was taken"
        return first, first + len(text), how
    wanted, _ = _folded(text)
    wanted = wanted.strip()
    folded, origin = _folded(context)
    spans = [m.span() for m in re.finditer(re.escape(wanted), folded)] if wanted else []
    spans = spans or [m.span() for m in re.finditer(_apart(wanted), folded) if m.group()]
    if not spans:
        return None
    found, last = min(spans, key=lambda span: abs(origin[span[0]] - near))
    end = origin[last - 1] + 1
    while end < len(context) and unicodedata.combining(context[end]):
        end += 1
    how = "answers are spelled otherwise than in the context (blanks, Unicode forms), whose spelling was taken"
    return origin[found], end, how


def _apart(text: str) -> str:
    """An expression for a text of which signs may stand apart from words, as in files that were split into tokens."""
    pieces = re.findall(r"\w+|[^\w\s]", text)
    made = "".join(
        (" " if left[-1].isalnum() and right[0].isalnum() else " ?") + re.escape(right)
        for left, right in pairwise(pieces)
    )
    return rf"(?<!\w){re.escape(pieces[0])}{made}(?!\w)" if pieces else r"(?!)"


def _folded(text: str) -> tuple[str, list[int]]:
    """(the text with one blank for a run of blanks and compatibility forms decomposed, where each character is from)"""
    characters: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        for part in unicodedata.normalize("NFKD", character):
            if part.isspace():
                if characters and characters[-1] == " ":
                    continue
                part = " "
            elif unicodedata.category(part) == "Cf":  # soft hyphens, joiners, marks of direction
                continue
            characters.append(part)
            origin.append(index)
    return "".join(characters), origin
