"""A file that appears whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """On a full disk, or when killed, `path` keeps what it held before.

    The content goes into another file of the same folder (`*.tmp`), which is synced and then takes the name; a link
    keeps pointing at what is replaced, and a device (/dev/stdout) is written to. Raises: OSError.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
