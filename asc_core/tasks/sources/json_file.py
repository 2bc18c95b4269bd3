"""JSON files: SQuAD, CLINC, or a list of objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.sources.clinc import KEYS, clinc_table, is_clinc
from asc_core.tasks.sources.squad import squad_table
from asc_core.tasks.sources.table import SPLITS, FileOptions, Table


def read_json(path: Path, split: str, options: FileOptions) -> Table:
    data = load_json(path)
    if is_clinc(data):
        return clinc_table(path, data, split, options.oos)
    if isinstance(data, dict) and isinstance(data.get("data"), list):
        return squad_table(path, data["data"])
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        return Table(data, str(path), tuple(dict.fromkeys(key for row in data for key in row)))
    raise UserError(f"{path} is neither SQuAD nor CLINC JSON, nor a list of objects; use JSONL, one object a line.")


def clinc_splits(path: Path) -> tuple[str, ...]:
    """The splits inside a CLINC file, () for every other file: one such file has all splits."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return ()
    data = load_json(path)
    return tuple(s for s in SPLITS if KEYS[s] in data) if is_clinc(data) else ()


def load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first.") from None
