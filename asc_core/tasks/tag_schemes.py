"""How tags say where an entity begins: IOB and its kin, with the letter before or behind the type, or no letter at all.

All of them are brought to one spelling (IOBES with the letter in front, as seqeval counts it), so that the same
entities count the same, however a file writes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

OUTSIDE = "O"
_BEFORE = re.compile(r"([BIESLUMW])(?:[-_](.+))?", re.IGNORECASE)
_BEHIND = re.compile(r"(.+)[-_]([BIESLUMW])", re.IGNORECASE)
_AS_IOBES = {"L": "E", "U": "S", "M": "I", "W": "S"}  # BILOU and BMES say the same with other letters


@dataclass(frozen=True)
class TagScheme:
    """spelled: each of the tags in IOBES with the letter in front. note: what had to be guessed, "" where nothing."""

    spelled: dict[str, str]
    note: str = ""


def scheme_of(tags: Sequence[str]) -> TagScheme:
    """The scheme of a set of tags: all that a task or a model has."""
    inside = [tag for tag in tags if not _outside(tag)]
    numbers = bool(inside) and all(re.fullmatch(r"(LABEL_)?\d+", tag) for tag in tags if tag != OUTSIDE)
    if numbers:
        outside = [tag for tag in tags if tag in ("0", "LABEL_0")]
        return _spelled(
            tags,
            {tag: f"I-{tag}" for tag in inside if tag not in outside},
            'The tags are bare numbers: 0 was taken for "outside", and neighbouring words with one number for one '
            "entity. Name them with `labels = [...]` in the task file.",
        )
    before = {tag: m for tag in inside if (m := _BEFORE.fullmatch(tag))}
    behind = {tag: m for tag in inside if (m := _BEHIND.fullmatch(tag))}
    if len(before) == len(inside) or (before and len(before) >= len(behind) and len(before) > len(inside) / 2):
        found = {tag: (m[1], m[2] or "") for tag, m in before.items()}
        how = ""
    elif behind and len(behind) > len(inside) / 2:
        found = {tag: (m[2], m[1]) for tag, m in behind.items()}
        how = " with the letter behind the type"
    else:
        words = "" if any(map(_outside, tags)) else " They have no O either, as parts of speech."
        return _spelled(
            tags,
            {tag: f"I-{tag}" for tag in inside},
            "The tags have no B- or I-, so neighbouring words with one tag count as one entity; "
            f'metric = "accuracy" counts words instead.{words}',
        )
    letters = {letter.upper() for letter, _ in found.values()}
    if letters & {"L", "U", "M", "W"}:
        how = f" as {'BILOU' if letters & {'L', 'U'} else 'BMES'}{how}"
    spelled = {tag: f"I-{tag}" for tag in inside if tag not in found}  # a type without a letter in such a set
    spelled |= {tag: f"{_AS_IOBES.get(letter.upper(), letter.upper())}-{kind}" for tag, (letter, kind) in found.items()}
    return _spelled(tags, spelled, f"The tags were read{how}." if how else "")


def _spelled(tags: Sequence[str], inside: dict[str, str], note: str) -> TagScheme:
    return TagScheme({tag: inside.get(tag, OUTSIDE) for tag in tags}, note)


def _outside(tag: str) -> bool:
    return tag in ("O", "o", "_", "")
