"""What a tokenizer.json may ask for, checked before the library reads it.

A replacement of one letter by two, forty times over, makes a terabyte of a word; a text padded to a length of a billion
does so at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from asc_core.checkpoint.reasons import json_object
from asc_core.checkpoint.trial import SPLITS, went_well
from asc_core.errors import UserError

FILE = "tokenizer.json"
MOST_BYTES = 1 << 28
MOST_GROWTH = 256.0  # of a text in characters, by all replacements together
MOST_STEPS = 100
MOST_TOKENS = 1 << 20  # that a text is padded to or cut at, or that are put around it
_TEXTS = [letter * 1500 for letter in "a A1é(\n"] + ["a1 " * 500, "\x00~Ā漢🙂" * 100, " \t" * 500, "x" * 30 + "!"]


def check_tokenizer(folder: Path, source: str) -> None:
    """Raises: UserError where the file's steps would explode, or do not come to an end."""
    path = folder / FILE
    if not path.is_file():
        return
    facts = path.stat()
    if facts.st_size > MOST_BYTES:
        raise UserError(f"{path} has {facts.st_size:,} bytes, more than a tokenizer needs: copy it again.")
    said = _wrong(str(path), facts.st_mtime_ns, facts.st_size)
    if said is not None:
        raise UserError(f"{source}: its {FILE} {said}: copy the tokenizer files of the model that it was made from.")


@lru_cache(maxsize=256)
def _wrong(path: str, changed: int, size: int) -> str | None:
    """changed, size: of the file; the same one is tried once."""
    try:
        content = json_object(Path(path))
    except UserError:
        return None  # the library says what it misses
    steps = [step for name in ("normalizer", "pre_tokenizer") for step in _steps(content.get(name))]
    if len(steps) > MOST_STEPS:
        return f"has {len(steps):,} steps, more than the {MOST_STEPS} that one may have"
    growth = 1.0
    for step in steps:
        growth *= _growth(step)
    if growth > MOST_GROWTH:
        return f"makes texts up to {growth:.0e} times as long"
    for place, number in _numbers(content):
        if number > MOST_TOKENS:
            return f"says {place} = {number:,}, more than the {MOST_TOKENS:,} that it may be"
    if any(_has_own_pattern(step) for step in steps):
        most = int(MOST_GROWTH) * 4 * max(map(len, _TEXTS))
        if not went_well(SPLITS, {"file": path, "texts": _TEXTS, "most": most}):
            return "does not come to an end with some texts, or makes the library break off"
    return None


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    """Those of a sequence, however deep."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if not isinstance(found, dict):
            continue
        yield found
        for name in ("normalizers", "pretokenizers"):
            inner = found.get(name)
            waiting += inner if isinstance(inner, list) else []


def _growth(step: dict[str, Any]) -> float:
    """How many times as long a text can become."""
    if step.get("type") != "Replace":
        return 1.0
    content, pattern = str(step.get("content", "")), step.get("pattern")
    found = pattern.get("String") if isinstance(pattern, dict) else None
    if isinstance(found, str) and found:
        return max(1.0, len(content) / len(found))
    return 1.0 + len(content)  # an expression may match between any two letters


def _has_own_pattern(step: dict[str, Any]) -> bool:
    pattern = step.get("pattern")
    return isinstance(pattern, dict) and "Regex" in pattern


def _numbers(content: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for name in ("truncation", "padding"):
        said = content.get(name)
        for key, value in said.items() if isinstance(said, dict) else ():
            inner = value.get("Fixed") if isinstance(value, dict) else value
            if isinstance(inner, int) and key in ("max_length", "stride", "strategy", "pad_to_multiple_of"):
                yield f"{name}.{key}", inner
    around = content.get("post_processor")
    for key in ("single", "pair"):
        pieces = around.get(key) if isinstance(around, dict) else None
        if isinstance(pieces, list):
            yield f"post_processor.{key}", len(pieces)
