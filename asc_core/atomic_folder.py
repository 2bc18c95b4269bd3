"""Directories, and files of one, that appear whole or not at all, whatever happens while they are made."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asc_core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: what a killed export left there stays
    _CAN_LOCK = False
else:
    _CAN_LOCK = True

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def new_folder(out: str | Path, *, overwrite: bool = False, marker: str = "config.json") -> Iterator[Path]:
    """A directory to fill, that takes the name `out` once the `with` is left without an error.

    An empty directory at `out` is replaced; a full one only with `overwrite`, and only where it holds `marker`, so
    that nobody's home directory goes. On any error, a full disk and a kill included, what was at `out` stays as it
    was. What a killed process left beside it is removed by the next one.
    Raises: UserError where `out` is taken, cannot be written or its disk is full.
    """
    recover(out)
    target = check_free(out, overwrite=overwrite, marker=marker)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        work, lock = _locked_folder(target)
    except OSError as error:
        raise _said(error, out) from None
    try:
        yield work
        _sync(work)
        _put_in_place(work, target, out, overwrite)
    except Exception as error:
        if is_disk_full(error) or isinstance(error, OSError):
            raise _said(error, out) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)  # after an exchange it holds what was at `out`
        os.close(lock)


@contextmanager
def new_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A scratch directory, whose files of these names move into `folder` in this order once the `with` is left.

    On any error none does; what else is in the scratch directory goes. Raises: UserError as `new_folder` does.
    """
    target = folder / names[-1]
    try:
        _remove_abandoned(target)
        work, lock = _locked_folder(target)
    except OSError as error:
        raise _said(error, folder) from None
    try:
        yield work
        _sync(work)
        for name in names:
            os.replace(work / name, folder / name)
        _sync_one(folder)
    except OSError as error:
        raise _said(error, folder) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one behind it, means a full disk; Rust's libraries say so in their text alone."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _said(error: BaseException, out: str | Path) -> UserError:
    if is_disk_full(error):
        return UserError(f"The disk of {out} is full: free some space or choose another place. Nothing was written.")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UserError(f"{out} cannot be written: {reason}. Nothing was written.")


def _taken(out: str | Path) -> UserError:
    return UserError(f"{out} exists already: choose another name, or say that it may be overwritten.")


def check_free(out: str | Path, *, overwrite: bool = False, marker: str = "config.json") -> Path:
    """Where `out` is, for real. Raises: UserError where `new_folder` would refuse it; better before long work."""
    target = Path(os.path.realpath(Path(out).expanduser()))
    if target.is_dir():
        if not any(target.iterdir()):
            return target
        if not overwrite:
            raise _taken(out)
        if not (target / marker).exists():
            raise UserError(f"{out} is not a model directory (it has no {marker}), so it is not overwritten.")
    elif target.exists():
        raise UserError(f"{out} is a file: choose another name.")
    return target


def _locked_folder(target: Path) -> tuple[Path, int]:
    """A work directory beside `target`, and the descriptor whose lock says that its maker is alive."""
    while True:
        work = target.with_name(f"{_prefix(target)}{secrets.token_hex(4)}.partial")
        work.mkdir()
        lock = os.open(work, os.O_RDONLY)
        if try_lock(lock) and work.exists():  # another process may have taken it for abandoned before it was locked
            return work, lock
        os.close(lock)


def _prefix(target: Path) -> str:
    return f".{target.name}."


def try_lock(descriptor: int) -> bool:
    """Whether nobody else holds it; it is held until the descriptor is closed, by a kill too."""
    if not _CAN_LOCK:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _remove_abandoned(target: Path) -> None:
    if not _CAN_LOCK:
        return
    for path in target.parent.glob(f"{glob.escape(_prefix(target))}*.partial"):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # its maker is alive
        finally:
            os.close(descriptor)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(work: Path, target: Path, out: str | Path, overwrite: bool) -> None:
    try:
        os.rename(work, target)  # also over an empty directory
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not overwrite:  # it came into being since the first look
            raise _taken(out) from None
        _exchange(work, target)
    _sync_one(target.parent)


def _exchange(work: Path, target: Path) -> None:
    """Let two directories change names, in one step where the system can (Linux)."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is not None:
        arguments = (_AT_FDCWD, os.fsencode(work), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE)
        if rename(*arguments) == 0:
            return
    _move(work, target)


def _move(work: Path, target: Path) -> None:
    """In two steps; `recover` makes good a kill between them."""
    aside = _aside(target)
    held = os.open(target, os.O_RDONLY)
    try:
        try_lock(held)
        os.rename(target, aside)
        try:
            os.rename(work, target)
        except OSError:
            os.rename(aside, target)
            raise
        os.rename(aside, work)
    finally:
        os.close(held)


def recover(out: str | Path) -> None:
    """Give back its name to what a killed process had moved aside to replace it, where directories cannot change names
    in one step. Before anyone looks at what is at `out`. Raises: UserError where the place cannot be written."""
    target = Path(os.path.realpath(Path(out).expanduser()))
    aside = _aside(target)
    try:
        held = os.open(aside, os.O_RDONLY)
    except OSError:  # as nearly always: there is none
        return
    try:
        if not try_lock(held):
            return  # its maker is alive
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, target)
    except OSError as error:
        raise _said(error, out) from None
    finally:
        os.close(held)


def _aside(target: Path) -> Path:
    return target.with_name(f"{_prefix(target)}replaced")
