"""Named arrays in a file: whole or not at all, and what is wrong with one that cannot be used."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as arrays_from_bytes
from safetensors.numpy import save

from asc_core.atomic_file import write_whole
from asc_core.errors import UserError

Value = TypeVar("Value")

__all__ = ["arrays_from_bytes", "arrays_to_bytes", "damaged", "parsed", "read_arrays", "storage_error", "write_arrays"]


def arrays_to_bytes(arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    # np.ascontiguousarray would turn () into (1,).
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()}, metadata)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """All or nothing: on a full disk, or when killed, `path` keeps what it held before. Raises: UserError."""
    content = arrays_to_bytes(arrays, metadata)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise storage_error(path, error) from error


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
    """(arrays, metadata); None where there is no such file."""
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, error) from error


def parsed(file: Path, make: Callable[[], Value]) -> Value:
    """make(), where a study from someone else may hold anything at all."""
    try:
        return make()
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> UserError:
    if file.suffix == ".sqlite":
        return UserError(
            f"{file} is damaged ({error}). Put a copy of it back, or move it away and start anew: the files beside it "
            "are not touched."
        )
    return UserError(f"{file} is damaged ({error}). Delete this one file; what it held is then computed again.")


def storage_error(path: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"The disk is full: {path} was not written, and what it held before is kept. Free some space.")
    return UserError(f"{path} cannot be used: {error.strerror or error}. Check the folder and its permissions.")
