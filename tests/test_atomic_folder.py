"""A directory appears whole or not at all, and what was there stays."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asc_core import atomic_folder as folder_module
from asc_core.atomic_folder import is_disk_full, new_files, new_folder
from asc_core.errors import Cancelled, UserError


def model_at(path: Path, text: str = "old") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(text)
    return path


def test_the_folder_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model"
    with new_folder(out) as work:
        (work / "config.json").write_text("new")
        assert not out.exists()
        assert work.parent == out.parent
    assert (out / "config.json").read_text() == "new"
    assert [p.name for p in out.parent.iterdir()] == ["model"]
    assert out.stat().st_mode & 0o777 == out.parent.stat().st_mode & 0o777


@pytest.mark.parametrize("error", [Cancelled("x"), UserError("x"), RuntimeError("x"), KeyboardInterrupt()])
@pytest.mark.parametrize("taken", [False, True])
def test_an_error_leaves_everything_as_it_was(error: BaseException, taken: bool, tmp_path: Path) -> None:
    if taken:
        model_at(tmp_path / "out")
    with pytest.raises(type(error)), new_folder(tmp_path / "out", overwrite=True) as work:  # noqa: PT012
        (work / "config.json").write_text("new")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if taken else [])
    assert not taken or (tmp_path / "out" / "config.json").read_text() == "old"


def test_a_model_is_replaced_only_when_told_to(tmp_path: Path) -> None:
    out = model_at(tmp_path / "out")
    (out / "old-file").touch()
    with pytest.raises(UserError, match="exists already"), new_folder(out):
        pass
    with new_folder(out, overwrite=True) as work:
        (work / "config.json").write_text("new")
        assert (out / "config.json").read_text() == "old"
    assert [p.name for p in out.iterdir()] == ["config.json"]
    assert (out / "config.json").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_where_directories_cannot_be_exchanged_they_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = model_at(tmp_path / "out")
    monkeypatch.setattr(folder_module.ctypes, "CDLL", lambda *args, **kwargs: object())
    with new_folder(out, overwrite=True) as work:
        (work / "config.json").write_text("new")
    assert (out / "config.json").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def replaces_until_killed(out: Path, event: int) -> int:
    """The exit code of a process that ends without any cleaning up before its `event`-th change on the disk."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            _dies_before(event)
            with new_folder(out, overwrite=True) as work:
                (work / "config.json").write_text("new")
                (work / "weights").write_text("new")
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _dies_before(event: int) -> None:
    seen = itertools.count(1)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            if next(seen) == event:
                os._exit(9)
            return call(*args, **kwargs)

        return counting

    for name in ("rename", "fsync", "close", "mkdir", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


@pytest.mark.parametrize("can_exchange", [True, False])
def test_killed_at_any_file_event_the_folder_is_the_old_or_the_new_one_and_can_be_made_again(
    tmp_path: Path, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(folder_module.ctypes, "CDLL", lambda *args, **kwargs: object())
    event, code = 0, 9
    while code == 9:
        event += 1
        out = model_at(tmp_path / str(event) / "out")
        (out / "weights").write_text("old")
        code = replaces_until_killed(out, event)
        folder_module.recover(out)
        assert {path.read_text() for path in out.iterdir()} in ({"old"}, {"new"})
        assert sorted(path.name for path in out.iterdir()) == ["config.json", "weights"]
        with new_folder(out, overwrite=True) as work:
            (work / "config.json").write_text("again")
        assert [path.name for path in out.parent.iterdir()] == ["out"]
        assert (out / "config.json").read_text() == "again"
    assert code == 0
    assert event > 10


def test_what_a_living_process_has_moved_aside_is_left_to_it(tmp_path: Path) -> None:
    aside = model_at(tmp_path / ".out.replaced")
    held = os.open(aside, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    folder_module.recover(tmp_path / "out")
    assert aside.exists()
    os.close(held)
    folder_module.recover(tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_text() == "old"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    with new_folder(tmp_path) as work:
        (work / "config.json").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_that_holds_no_model_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not a model directory"), new_folder(tmp_path / "home", overwrite=True):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"), new_folder(tmp_path / "file", overwrite=True):
        pass
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def test_a_link_keeps_pointing_to_the_new_folder(tmp_path: Path) -> None:
    model_at(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    with new_folder(tmp_path / "link", overwrite=True) as work:
        (work / "config.json").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "config.json").read_text() == "new"


def test_another_that_was_faster_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"), new_folder(tmp_path / "out") as work:  # noqa: PT012
        (work / "config.json").write_text("mine")
        model_at(tmp_path / "out", "theirs")
    assert (tmp_path / "out" / "config.json").read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".out.0badcafe.partial"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".other.0badcafe.partial").mkdir()
    living = new_folder(tmp_path / "out")
    work = living.__enter__()
    assert not left.exists()
    (work / "config.json").write_text("mine")
    with new_folder(tmp_path / "out") as theirs:
        (theirs / "config.json").write_text("theirs")
        assert work.exists()
    with pytest.raises(UserError, match="exists already"):
        living.__exit__(None, None, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.0badcafe.partial", "out"]
    assert (tmp_path / "out" / "config.json").read_text() == "theirs"


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (Exception("No space left on device (os error 28)"), True),
        (ValueError("something else"), False),
    ],
)
def test_a_full_disk_is_known_in_all_its_forms(error: Exception, full: bool, tmp_path: Path) -> None:
    assert is_disk_full(error) is full
    wrapped = RuntimeError("while saving")
    wrapped.__cause__ = error
    assert is_disk_full(wrapped) is full
    if full:
        with pytest.raises(UserError, match=r"disk of .* is full"), new_folder(tmp_path / "out"):
            raise wrapped
        assert list(tmp_path.iterdir()) == []


def test_new_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with pytest.raises(KeyError), new_files(tmp_path, ["a", "b"]) as work:  # noqa: PT012
        (work / "a").write_text("half")
        raise KeyError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "before"}
    with new_files(tmp_path, ["a", "b"]) as work:
        for name in ("a", "b", "errors.txt"):
            (work / name).write_text("after")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "after", "b": "after"}
