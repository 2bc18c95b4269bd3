"""How much memory this process may use, does use, and may fill with what is kept for speed."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

from asc_core.errors import UserError

VARIABLE = "ASC_MEMORY"
SHARE = 0.25
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
WITHOUT_A_WORD = 8 << 30  # of a system that does not say how much it has
CGROUPS = Path("/sys/fs/cgroup")


def default_bound() -> int:
    """Bytes for what is kept for speed: what ASC_MEMORY says, else a quarter of `usable`. Raises: UserError."""
    said = os.environ.get(VARIABLE, "").strip()
    return parse_bytes(said, VARIABLE) if said else int(usable() * SHARE)


def parse_bytes(text: str, name: str) -> int:
    """4GB, 512M, 1.5 GiB or a number of bytes; all units are powers of 1,024. Raises: UserError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", text.upper())
    if found is None:
        raise UserError(f"{name} is {text!r}: write an amount of memory such as 4GB or 512MB.")
    return int(float(found[1]) * UNITS[found[2]])


def usable() -> int:
    """Bytes that this process may use: the machine's, or less where its control group allows less."""
    return min([physical(), *_group_limits()])


def physical() -> int:
    """Bytes of memory that the machine has."""
    if sys.platform == "win32":
        return _windows_physical()
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return WITHOUT_A_WORD


def resident() -> int | None:
    """Bytes of memory that this process holds now; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Hand what was freed back to the system where the C library would hold on to it (glibc); elsewhere nothing."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _group_limits() -> list[int]:
    """What the control groups of this process allow, from its own up to the root; versions 1 and 2."""
    limits = []
    for line in _groups():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = CGROUPS / controllers
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            names = [part for part in path.split("/") if part not in ("", "..")]  # ".." where seen from a container
            folders = [root.joinpath(*names[:depth]) for depth in range(len(names) + 1)]
            limits += [limit for folder in folders if (limit := _limit(folder / name)) is not None]
    return limits


def _groups() -> list[str]:
    try:
        return Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []


def _limit(path: Path) -> int | None:
    try:
        said = path.read_text().strip()
    except OSError:
        return None
    return int(said) if said.isdigit() else None  # "max" where there is none


def _windows_physical() -> int:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
            (name, ctypes.c_uint64) for name in ("total", "free", "a", "b", "c", "d", "e")
        ]

    status = Status(length=ctypes.sizeof(Status))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (absent elsewhere)
    return int(status.total) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else WITHOUT_A_WORD
