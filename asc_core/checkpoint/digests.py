"""What a folder held when it was written: size and SHA-256 of each file, in a file of its own beside them.

It finds what broke, was swapped or was added on the way. It does not say who made the folder: whoever can change the
files can change this one, so compare its own digest (`digest_of_all`) with what the sender says where that matters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from asc_core.errors import UserError
from asc_core.json_files import read_json

DIGESTS_FILE = "digests.json"
FORMAT = "asc-digests/1"
WANTED = (  # what is fetched of a hub's folder, and what an exported one may not lack to be loaded
    "*.json",
    "model*.safetensors",
    "adapter_model.safetensors",
    "*.txt",
    "*.model",
    "[0-9]*_*/*.json",
    "[0-9]*_*/*.safetensors",
    "[0-9]*_*/*.txt",
)
_READ_BY_PEOPLE = (".md", ".svg")  # who corrects a card does not change the model
_RUNS_CODE = ("*.py", "*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.joblib")
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Digest:
    bytes: int
    sha256: str


def write_digests(folder: Path) -> None:
    """Of all files that lie there, at the very end: what is written later is not in it."""
    found = {name: digest(folder / name).__dict__ for name in _files(folder)}
    text = json.dumps({"format": FORMAT, "files": found}, indent=1) + "\n"
    (folder / DIGESTS_FILE).write_text(text, encoding="utf-8")


def check_digests(folder: Path) -> dict[str, Digest]:
    """Of each file, once every one is what it was. Raises: UserError that names the first that is not."""
    expected = _read(folder)
    present = set(_files(folder))
    for name, said in expected.items():
        if name not in present:
            raise UserError(f"{folder} lacks {name}, which {DIGESTS_FILE} names: copy or download the folder again.")
        _check_file(folder, name, said, "ask its sender what was changed")
    added = sorted(present - expected.keys())
    if added:
        raise UserError(
            f"{folder} has {added[0]}, which {DIGESTS_FILE} does not name: it was added later, so remove it or ask "
            "the folder's sender."
        )
    return expected


def check_loadable(folder: Path) -> None:
    """Is all that loading reads of a folder what an export or a training wrote? A folder without digests is not asked.

    All files are hashed, the weights too: 0.7 s for a GB where the processor has SHA instructions, less than reading
    them into a model takes. A card may be edited, and a hub's folder is fetched in parts and as links; but what was
    not exported and would be read, or could run code, is not looked past.
    Raises: UserError that names the first file that is not what it was, and the way out.
    """
    if not (folder / DIGESTS_FILE).exists():
        return
    expected = _read(folder)
    for name, said in expected.items():
        if name.endswith(_READ_BY_PEOPLE):
            continue
        if (folder / name).is_file():
            _check_file(folder, name, said, f"where you changed it yourself, remove {DIGESTS_FILE}")
        elif any(fnmatch(name, pattern) for pattern in WANTED):
            raise UserError(f"{folder} lacks {name}, which {DIGESTS_FILE} names: copy or download the folder again.")
    read = {path for pattern in (*WANTED, *_RUNS_CODE) for path in folder.glob(pattern)} - {folder / DIGESTS_FILE}
    for path in sorted(read):
        if path.relative_to(folder).as_posix() not in expected and not path.name.startswith("."):
            raise UserError(
                f"{path} was added later ({DIGESTS_FILE} does not name it), and loading might read or run it: remove "
                f"it, or, where you put it there yourself, remove {DIGESTS_FILE}."
            )


def _check_file(folder: Path, name: str, said: Digest, otherwise: str) -> None:
    size = (folder / name).stat().st_size
    if size != said.bytes:
        raise UserError(
            f"{folder / name} has {size:,} bytes, and had {said.bytes:,} when it was written: copy or download "
            f"the folder again, or {otherwise}."
        )
    if digest(folder / name) != said:
        raise UserError(
            f"{folder / name} is not the file that was written (its SHA-256 differs): copy or download the folder "
            f"again, or {otherwise}."
        )


def digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def digest_of_all(folder: Path) -> str:
    """One value for the whole folder, for a sender to say by another way."""
    return digest(folder / DIGESTS_FILE).sha256


def _files(folder: Path) -> Iterator[str]:
    """Relative names, / between folders, without hidden files (a hub's), which nothing loads.

    Raises: UserError for a link: what it leads to is not the folder's.
    """
    for path in sorted(folder.rglob("*")):
        if path.relative_to(folder).parts[0].startswith("."):
            continue
        if path.is_symlink():
            raise UserError(f"{path} is a link to somewhere else: copy the file itself into the folder.")
        if not path.is_dir() and path != folder / DIGESTS_FILE:
            yield path.relative_to(folder).as_posix()


def _read(folder: Path) -> dict[str, Digest]:
    """The file may come from anyone."""
    path = folder / DIGESTS_FILE
    if not path.exists():
        raise UserError(
            f"{folder} has no {DIGESTS_FILE}, so nothing says what it held: export it again with `asc export`."
        )
    content = read_json(path)
    files = content.get("files") if isinstance(content, dict) and content.get("format") == FORMAT else None
    if not isinstance(files, dict) or not files:
        raise UserError(f"{path} does not list files in the form {FORMAT}: copy or download it again.")
    return {name: _entry(path, name, said) for name, said in files.items()}


def _entry(path: Path, name: str, said: Any) -> Digest:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
        raise UserError(f"{path} names {name!r}, which does not lie in this folder.")
    size, value = (said.get("bytes"), said.get("sha256")) if isinstance(said, dict) else (None, None)
    if type(size) is not int or not isinstance(value, str) or len(value) != 64 or not _HEX.issuperset(value):
        raise UserError(f"{path}: what it says of {name} is no size and SHA-256: copy or download it again.")
    return Digest(size, value)
