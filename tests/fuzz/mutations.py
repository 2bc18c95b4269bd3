"""Broken files, made from whole ones: every parser must read them or say in one sentence why not."""

from __future__ import annotations

import json
import random
from typing import Any

_PIECES = [
    *(
        piece.encode()
        for piece in ["", "\r", "\n\n", *"\"',;\t[]{}:=|", "null", "NaN", "-Infinity", "1e999", "true", "0.0", "-1"]
    ),
    *(piece.encode() for piece in ["sep=", "-DOCSTART-", "# ", "array([", "O", "B-", "answer_start", "é\u2028\u00a0"]),
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\\ud83d",
        b"\\u0000",
        b"\xed\xa0\xbd",
        b"\x1f\x8b",
        b"PK\x03\x04",
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b"9" * 5000),
]


_VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**400, float("nan"), float("inf")),
    *("", " ", "x", "0", "1.0", "\ud83d", "\x00", "9" * 5000, "[0 1]", "{'a': ["),
    *([], {}, [[]], [None], [0, 1], ["a", 1], {"text": 1}, {"text": ["a"], "answer_start": [None]}, {"": {"": []}}),
]


def mutated(seed: int, corpus: list[bytes]) -> bytes:
    """One of the corpus with a few pieces put in, taken out, doubled, swapped or replaced by another's; of JSON every
    other time a few of its values.
    """
    generator = random.Random(seed)
    chosen = generator.choice(corpus)
    if seed % 2 and (changed := _other_values(chosen, generator)) is not None:
        return changed
    data = bytearray(chosen)
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(data) + 1)
        end = min(len(data), at + generator.choice([0, 1, 1, 2, 5, 40]))
        match generator.randrange(6):
            case 0:
                data[at:end] = generator.choice(_PIECES)
            case 1:
                data[at:at] = generator.choice(_PIECES)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * generator.choice([1, 3])
            case 4 if end > at:
                data[at] = generator.randrange(256)
            case _:
                other = generator.choice(corpus)
                start = generator.randrange(len(other) + 1)
                data[at:end] = other[start : start + generator.randint(0, 60)]
    return bytes(data)


def _other_values(data: bytes, generator: random.Random) -> bytes | None:
    """JSON, or lines of JSON, that is still valid; None where the data is none."""
    try:
        parts = [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError:
        return None
    changed: Any = parts
    for _ in range(generator.randint(1, 4)):
        changed = _changed(changed, generator, 0)
    if not isinstance(changed, list):
        return None
    return "\n".join(json.dumps(part) for part in changed).encode()


def _changed(value: Any, generator: random.Random, depth: int) -> Any:
    """The value with one of those in it replaced, left out or doubled."""
    if not isinstance(value, list | dict) or not value or (depth > 1 and generator.random() < 0.25):
        return generator.choice(_VALUES) if depth else value
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = generator.choice(keys)
    copy: Any = value.copy()
    match generator.randrange(8):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, list):
            copy.append(copy[key])
        case 1:
            copy[generator.choice(["text", "label", "data", "columns", "train", "answers", "x"])] = copy[key]
        case _:
            copy[key] = _changed(value[key], generator, depth + 1)
    return copy
