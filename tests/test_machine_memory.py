"""How much may be kept for speed: what the user says, else a quarter of what this process may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_core import machine_memory
from asc_core.errors import UserError
from asc_core.machine_memory import available, default_bound, parse_bytes, physical, resident, usable


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4GB", 4 * 10**9), ("512M", 512 * 10**6), (" 1.5 GiB ", 3 << 29), ("1000", 1000), ("0", 0), ("2tb", 2 * 10**12)],
)
def test_amounts_are_read(text: str, expected: int) -> None:
    assert parse_bytes(text, "ASC_MEMORY") == expected


@pytest.mark.parametrize("text", ["much", "-1", "4 GBs", "", "1e9", "G"])
def test_what_is_no_amount_is_said(text: str) -> None:
    with pytest.raises(UserError, match=f"ASC_MEMORY is {text!r}: write an amount of memory such as 4GB"):
        parse_bytes(text, "ASC_MEMORY")


def test_the_bound_is_what_was_said_or_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASC_MEMORY", raising=False)
    monkeypatch.setattr(machine_memory, "usable", lambda: 400)
    assert default_bound() == 100
    monkeypatch.setenv("ASC_MEMORY", "3GB")
    assert default_bound() == 3 * 10**9
    monkeypatch.setenv("ASC_MEMORY", "3KB")
    with pytest.raises(UserError, match="ASC_MEMORY is '3KB': keep at least 256MB"):
        default_bound()


@pytest.mark.parametrize(
    ("line", "folder", "limits", "expected"),
    [
        ("0::/a/b", "", {"a/memory.max": "1000\n", "a/b/memory.max": "max\n"}, 1000),
        ("0::/a/b", "", {"a/memory.max": "2000\n", "a/b/memory.max": "1000\n"}, 1000),
        ("4:memory:/a", "memory", {"a/memory.limit_in_bytes": "700\n", "memory.limit_in_bytes": "9000\n"}, 700),
        ("0::/../other", "", {"memory.max": "600\n"}, 600),
        ("7:cpu:/a", "", {"a/memory.max": "5\n"}, None),
    ],
    ids=["version 2, set above", "the lowest counts", "version 1", "seen from within a container", "of something else"],
)
def test_a_control_group_allows_less(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    folder: str,
    limits: dict[str, str],
    expected: int | None,
) -> None:
    for name, content in limits.items():
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(machine_memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine_memory, "_groups", lambda: [line])
    assert usable() == (physical() if expected is None else expected)


def test_no_more_is_available_than_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine_memory, "_groups", lambda: ["0::/a"])
    assert available() == physical(), "where nobody says how much is free"
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable: 5 kB\n")
    assert available() == 5 << 10
    (tmp_path / "a").mkdir()
    for name, content in (
        ("memory.max", "6000"),
        ("memory.current", "4000"),
        ("memory.stat", "anon 9\ninactive_file 500"),
    ):
        (tmp_path / "a" / name).write_text(content)
    assert available() == 6000 - 4000 + 500, "files that the system keeps for the group would be let go"


def test_this_process_holds_less_than_the_machine_has() -> None:
    held = resident()
    assert held is None or 1 << 20 < held < physical()
