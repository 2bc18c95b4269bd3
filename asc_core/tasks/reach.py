"""How far a task file or a data set may reach: it may come from anyone, and names files that are read.

An address (`ftp:`, `webhdfs:`, `file:`) is never followed. Where several people use one server (`asc dashboard
--share`), a task file reads what lies beneath its own folder alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asc_core.errors import UserError

VARIABLE, OWN = "ASC_REACH", "own"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")  # of two letters or more: one is a drive of Windows
_CHAINED = "::"  # fsspec: one address inside another
_HUB_ID = re.compile(r"\w[\w.\-]*(/\w[\w.\-]*)?")
_MOST_README = 1 << 20


def reached(folder: Path, name: str, origin: str) -> Path:
    """The file that a task file in a folder names. Raises: UserError where it is none that it may read."""
    if _is_address(name):
        raise UserError(f"{origin}: {name[:200]!r} is an address; download the file and name it by its path.")
    path = folder / name
    if is_confined() and not _beneath(path, folder):
        raise UserError(
            f"{origin}: {name[:200]!r} lies outside the task file's own folder, which a shared dashboard does not "
            "read: put the file beside the task file."
        )
    return path


def checked_dataset(folder: Path, name: str, origin: str) -> str:
    """What the library for data sets is given: a hub id, or the path of a folder that begins with a dot.

    Raises: UserError for anything else, and for a folder whose README names files elsewhere.
    """
    local = folder / name
    if name.startswith(".") or (Path(name).is_absolute() and not is_confined()):
        reached(folder, name, origin)
        if local.is_dir():
            check_readme(local / "README.md", str(local))
            return str(local)
    if not _HUB_ID.fullmatch(name):
        raise UserError(f"{origin}: data.hub is OWNER/NAME, or a folder that begins with a dot, not {name[:200]!r}.")
    return name


def check_readme(readme: Path, origin: str) -> None:
    """The head of a data set's README says which files it is. Raises: UserError where one lies elsewhere."""
    import yaml

    if not readme.is_file():
        return
    with readme.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_MOST_README)
    head = re.match(r"---\s*\n(.*?)\n---", text, re.S)
    try:
        said = yaml.safe_load(head[1]) if head is not None else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # the library says what is wrong with it
    for name in _files(said):
        if _is_address(name) or Path(name).is_absolute() or ".." in Path(name).parts or name.startswith("~"):
            raise UserError(f"{origin}: its README names {name[:200]!r}, which is not its own, so it is not read.")


def is_confined() -> bool:
    return os.environ.get(VARIABLE) == OWN


def _files(said: Any) -> Iterator[str]:
    """All that stands under data_files or data_dir."""
    waiting = [(said, False)]
    while waiting:
        value, inside = waiting.pop()
        if isinstance(value, str):
            if inside:
                yield value
        elif isinstance(value, list):
            waiting += [(one, inside) for one in value]
        elif isinstance(value, dict):
            waiting += [(one, inside or name in ("data_files", "data_dir")) for name, one in value.items()]


def _is_address(name: str) -> bool:
    return _ADDRESS.match(name) is not None or _CHAINED in name


def _beneath(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
