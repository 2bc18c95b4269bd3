"""What is written says what it holds: a digest within it, which is compared when it is read.

A disk, a copy or a network loses a bit now and then, and a score with another exponent looks like any other score.
Three forms carry a digest: a JSON object (a key of its own), a safetensors file (in its metadata, over all other bytes)
and a row of a database (a column of its own). What an earlier version has written has none and is read as it was then.
A digest finds what broke; it does not say who wrote, for whoever changes a file can change its digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

KEY = "digest"
CHUNK = 1 << 20
_BYTES = 16
_FORM = "blake2b:"
UNSEALED = (
    _FORM + "0" * 2 * _BYTES
)  # stands where the digest will, so that a file has its length before it has its digest
_BEFORE = f'"{KEY}":"'.encode()  # nowhere else in a header: within a text JSON puts a \ before each "
_VALUE = re.compile(f'"{_FORM}.{{{2 * _BYTES}}}"'.encode(), re.DOTALL)


class NotAsWrittenError(ValueError):
    """Something holds other things than when it was written."""

    def __init__(self) -> None:
        super().__init__("it does not hold what was written: its digest differs")


# Rows


def row_digest(table: str, row: Mapping[str, Any]) -> str:
    """Of all columns but the digest's own, with their names and types."""
    digest = hashlib.blake2b(table.encode(), digest_size=_BYTES)
    for name in sorted(row.keys() - {KEY}):
        value = row[name]
        content = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        digest.update(f"|{name}|{type(value).__name__}|{len(content)}|".encode())
        digest.update(content)
    return digest.hexdigest()


# JSON


def sealed_json(content: Any) -> Any:
    """An object with its digest as a further key; anything else as it is."""
    return {**content, KEY: _json_digest(content)} if isinstance(content, dict) else content


def opened_json(content: Any) -> Any:
    """The opposite of `sealed_json`; what has no digest of ours is given back. Raises: NotAsWrittenError."""
    if not isinstance(content, dict) or not any(map(_is_digest, content.values())):
        return content
    rest = {name: value for name, value in content.items() if name != KEY}
    if _json_digest(rest) != content.get(KEY):  # also where the digest's own key broke
        raise NotAsWrittenError
    return rest


def _json_digest(content: dict[str, Any]) -> str:
    """Of what it means, so that who only formats a file anew changes nothing."""
    written = json.dumps(json.loads(json.dumps(content)), sort_keys=True, separators=(",", ":"))
    return _FORM + hashlib.blake2b(written.encode(), digest_size=_BYTES).hexdigest()


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == len(UNSEALED) and value.startswith(_FORM)


# Safetensors files, whose metadata has been given KEY: UNSEALED


def sealed_bytes(content: bytes) -> bytes:
    """A safetensors file's content with its digest in place."""
    file = io.BytesIO(content)
    _seal(file)
    return file.getvalue()


def seal_file(path: Path) -> None:
    with path.open("r+b") as file:
        _seal(file)


def check_bytes(content: bytes) -> None:
    """Raises: NotAsWrittenError; ValueError for what is no safetensors file."""
    _check(io.BytesIO(content))


def check_file(path: Path) -> None:
    """As `check_bytes`, read in pieces. Raises: also OSError."""
    with path.open("rb") as file:
        _check(file)


def _seal(file: BinaryIO) -> None:
    place = _place(file)
    assert place is not None
    found = _digest(file, place)
    file.seek(place)
    file.write(found.encode())


def _check(file: BinaryIO) -> None:
    place = _place(file)
    if place is None:
        return  # an earlier version's
    file.seek(place)
    if file.read(len(UNSEALED)) != _digest(file, place).encode():
        raise NotAsWrittenError


def _place(file: BinaryIO) -> int | None:
    """Where the digest's characters begin; None where there is none."""
    file.seek(0)
    first = file.read(8)
    size = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
    rest = file.seek(0, io.SEEK_END) - 8
    if not 0 <= size <= rest:
        raise ValueError("it is cut short")
    file.seek(8)
    header = file.read(size)
    place = header.find(_BEFORE)
    if place < 0 and _VALUE.search(header):  # its key broke
        raise NotAsWrittenError
    return None if place < 0 else 8 + place + len(_BEFORE)


def _digest(file: BinaryIO, place: int) -> str:
    """Of all bytes, with UNSEALED where the digest stands."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    file.seek(0)
    digest.update(file.read(place))
    digest.update(UNSEALED.encode())
    file.seek(place + len(UNSEALED))
    while piece := file.read(CHUNK):
        digest.update(piece)
    return _FORM + digest.hexdigest()
