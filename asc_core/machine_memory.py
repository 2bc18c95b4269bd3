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
POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
LEAST = 256_000_000
WITHOUT_A_WORD = 8 << 30  # of a system that does not say how much it has
CGROUPS = Path("/sys/fs/cgroup")
NAMES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))  # versions 2 and 1
MEMINFO = Path("/proc/meminfo")


def default_bound() -> int:
    """Bytes for what is kept for speed: what ASC_MEMORY says, else a quarter of `usable`. Raises: UserError."""
    said = os.environ.get(VARIABLE, "").strip()
    return bound_of(said, VARIABLE) if said else int(usable() * SHARE)


def bound_of(text: str, name: str) -> int:
    """Bytes, not so few that what a page shows would have to be made again for every look at it. Raises: UserError."""
    found = parse_bytes(text, name)
    if found < LEAST:
        raise UserError(
            f"{name} is {text!r}: keep at least {LEAST // 1_000_000}MB, or every click would load everything anew."
        )
    return found


def parse_bytes(text: str, name: str) -> int:
    """4GB, 512M or a number of bytes; units are decimal, as on the pages, unless it says GiB. Raises: UserError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?\s*", text.upper())
    if found is None:
        raise UserError(f"{name} is {text!r}: write an amount of memory such as 4GB or 512MB.")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** POWERS[found[2]])


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


def available() -> int:
    """Bytes that this process could take now without anything being swapped out; all it may use where nobody says."""
    free = [limit - used for limit, used in _group_uses()]
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) << 10)
    except (OSError, ValueError, IndexError):
        pass
    return max(0, min([usable(), *free]))


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
    return [limit for limit, _ in _group_uses()]


def _group_uses() -> list[tuple[int, int]]:
    """(limit, used) of the control groups of this process, from the root to its own; versions 1 and 2. What the system
    keeps of files for them is counted as used only as far as it could not be let go."""
    found = []
    for line in _groups():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = CGROUPS / controllers
            limit_name, used_name = NAMES[bool(controllers)]
            names = [part for part in path.split("/") if part not in ("", "..")]  # ".." where seen from a container
            for depth in range(len(names) + 1):
                folder = root.joinpath(*names[:depth])
                limit = _number(folder / limit_name)
                if limit is not None:
                    found.append((limit, (_number(folder / used_name) or 0) - _inactive_files(folder)))
    return found


def _inactive_files(folder: Path) -> int:
    try:
        said = (folder / "memory.stat").read_text().split()
    except OSError:
        return 0
    found = {name: int(value) for name, value in zip(said[::2], said[1::2], strict=False) if value.isdigit()}
    return found.get("total_inactive_file", found.get("inactive_file", 0))


def _groups() -> list[str]:
    try:
        return Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
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
