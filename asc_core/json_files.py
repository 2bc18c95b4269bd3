"""JSON files, read with one sentence for whatever is wrong and written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asc_core.atomic_file import write_whole
from asc_core.errors import UserError
from asc_core.seals import NotAsWrittenError, opened_json, sealed_json


def read_json(path: str | Path) -> Any:
    """The content of a JSON file, as it was written where `write_json` wrote it. Raises: UserError that names it."""
    try:
        return opened_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except NotAsWrittenError:
        raise UserError(
            f'{path} is not as it was written: copy it again or, where you have changed it yourself, remove "digest" '
            "from it."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except (ValueError, RecursionError) as error:  # a ValueError alone: a number of thousands of digits
        raise UserError(f"{path} is not valid JSON: {error}.") from None


def write_json(path: str | Path, content: Any) -> None:
    """One line, in folders that are made where they are missing; `path` appears whole or not at all. An object gets a
    digest, which `read_json` compares.

    Raises: UserError that names the file.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), (json.dumps(sealed_json(content)) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}. Name another file.") from None
