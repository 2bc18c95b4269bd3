"""Named arrays in a file: whole or not at all, and what is wrong with one that cannot be used."""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_from_bytes
from safetensors.numpy import save

from asc_core.atomic_file import write_whole
from asc_core.errors import UserError
from asc_core.seals import KEY, UNSEALED, check_bytes, sealed_bytes

Value = TypeVar("Value")

__all__ = ["arrays_from_bytes", "arrays_to_bytes", "damaged", "parsed", "read_arrays", "storage_error", "write_arrays"]


def arrays_to_bytes(arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    # np.ascontiguousarray would turn () into (1,).
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()}, metadata)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """All or nothing: on a full disk, or when killed, `path` keeps what it held before. Raises: UserError."""
    content = sealed_bytes(arrays_to_bytes(arrays, metadata | {KEY: UNSEALED}))
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise storage_error(path, error) from error


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
    """(arrays, metadata) as they were written; None where there is no such file. Raises: UserError."""
    try:
        content = path.read_bytes()
        check_bytes(content)
        return arrays_from_bytes(content), _metadata(content)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, error) from error


def _metadata(content: bytes) -> dict[str, str]:
    """Of a file that safetensors has read."""
    (size,) = struct.unpack("<Q", content[:8])
    found = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    return {name: value for name, value in found.items() if name != KEY}


def parsed(file: Path, make: Callable[[], Value]) -> Value:
    """make(), where a study from someone else may hold anything at all."""
    try:
        return make()
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> UserError:
    if file.suffix == ".sqlite":
        return UserError(
            f"{file} is damaged ({error}). Put a copy of it back, or let `asc doctor {file.parent} --set-aside` keep "
            "what is whole."
        )
    return UserError(f"{file} is damaged ({error}). Delete this one file; what it held is then computed again.")


def storage_error(path: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"The disk is full: {path} was not written, and what it held before is kept. Free some space.")
    return UserError(f"{path} cannot be used: {error.strerror or error}. Check the folder and its permissions.")
