"""JSON files, read with one sentence for whatever is wrong and written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asc_core.atomic_file import write_whole
from asc_core.errors import UserError


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises: UserError that names the file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except (ValueError, RecursionError) as error:  # a ValueError alone: a number of thousands of digits
        raise UserError(f"{path} is not valid JSON: {error}.") from None


def write_json(path: str | Path, content: Any) -> None:
    """One line, in folders that are made where they are missing; `path` appears whole or not at all.

    Raises: UserError that names the file.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), (json.dumps(content) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}. Name another file.") from None
