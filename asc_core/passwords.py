"""Who may come in: a file of names and argon2id hashes, one `NAME:HASH` a line.

argon2-cffi is imported where a password is made or compared: nobody else needs it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from asc_core.atomic_file import write_whole
from asc_core.errors import UserError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")  # also a folder's name
FEWEST_CHARACTERS, MOST_CHARACTERS = 12, 256
_HASH = re.compile(r"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_MOST_BYTES = 1 << 20


def hashed(password: str) -> str:
    """Raises: UserError where it is short."""
    if not FEWEST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise UserError(f"A password has {FEWEST_CHARACTERS} to {MOST_CHARACTERS} characters.")
    return _hasher().hash(password)


def matches(password: str, expected: str) -> bool:
    """Takes about 50 ms and 64 MiB, on purpose."""
    import argon2

    try:
        return len(password) <= MOST_CHARACTERS and _hasher().verify(expected, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def read_passwords(path: Path) -> dict[str, str]:
    """Name -> hash. Raises: UserError where nobody could come in by this file, or others may change it."""
    way = f"make it with `asc password {path} NAME`"
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is no file of passwords: {way}.")
        if os.name == "posix" and path.stat().st_mode & 0o022:
            raise UserError(f"Others may write {path}, and so let themselves in: chmod go-w {path}")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): {way}.") from None
    found = {}
    for number, line in enumerate(lines, start=1):
        name, _, value = line.partition(":")
        if not line.strip():
            continue
        if not NAME.fullmatch(name) or not _HASH.fullmatch(value):
            raise UserError(f"{path}, line {number} is no NAME:HASH with an argon2id hash: {way}.")
        found[name] = value
    if not found:
        raise UserError(f"{path} holds no password: {way}.")
    return found


def keep_password(path: Path, name: str, password: str) -> None:
    """Add a name, or give it another password; only the file's owner may read it. Raises: UserError."""
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name: up to 32 of a-z, 0-9, - and _.")
    kept = read_passwords(path) if path.exists() and path.stat().st_size else {}
    kept[name] = hashed(password)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(f"{one}:{value}\n" for one, value in kept.items()).encode())
        path.chmod(0o600)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}. Name another file.") from None


def _hasher():  # type: ignore[no-untyped-def]  # imported late
    import argon2

    return argon2.PasswordHasher()
