"""Broken files, made from whole ones: every parser must read them or say in one sentence why not."""

from __future__ import annotations

import random

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


def mutated(seed: int, corpus: list[bytes]) -> bytes:
    """One of the corpus with a few pieces put in, taken out, doubled, swapped or replaced by another's."""
    generator = random.Random(seed)
    data = bytearray(generator.choice(corpus))
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
