"""Lists and dictionaries in one cell of a table, as JSON, as Python prints them, or as NumPy does."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import numpy as np

_ARRAY = re.compile(r"\barray\(\s*(\[.*?\])\s*(?:,\s*dtype=[\w.<>'\"]+\s*)?\)", re.DOTALL)
_NUMPY_WORDS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s\[\],]+")


def unpacked(value: Any) -> Any:
    """The list or dictionary that a value holds or spells, arrays as lists; any other value as it is."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text[:1] + text[-1:] not in ("[]", "{}", "()"):
        return value
    for read in (json.loads, lambda t: ast.literal_eval(_ARRAY.sub(r"\1", t)), _numpy_list):
        try:
            found = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(found, tuple):
            found = list(found)
        if isinstance(found, list | dict) and not _runs_together(found, text):
            return found
    return value


def _runs_together(found: Any, text: str) -> bool:
    """Python reads NumPy's ['a' 'b'] as one text "ab"."""
    return (
        isinstance(found, list)
        and len(found) == 1
        and isinstance(found[0], str)
        and "," not in text
        and (len(_NUMPY_WORDS.findall(text[1:-1])) > 1)
    )


def _numpy_list(text: str) -> list[Any]:
    """[1 0 1] and ['a' 'b']. Raises: ValueError where it is something else."""
    if not (text.startswith("[") and text.endswith("]")) or "," in text or "[" in text[1:]:
        raise ValueError("not a flat NumPy array")
    return [ast.literal_eval(part) for part in _NUMPY_WORDS.findall(text[1:-1])]
