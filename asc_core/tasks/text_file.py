"""Files of texts without labels: what may be read, and as examples of a task, one a line, its texts apart by tabs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from asc_core.errors import UserError
from asc_core.tasks.base import Examples, Task
from asc_core.tasks.table_task import TableTask

MOST_BYTES = 256 << 20
WORDS = ("tagging", "intent-slots")


def examples_in(task: Task, path: str | Path) -> Examples:
    """What `unlabelled(task).features` takes. Of tagging the words of a line are apart by spaces.

    Raises: UserError where the file cannot be read, a line has not as many texts as the task, or the task is none of
    texts alone (questions about a context, whose windows belong to an answer).
    """
    if not isinstance(task, TableTask) or task.kind == "question-answering":
        raise UserError(f"{task.name} ({task.kind}) takes no file of texts: only tasks of one text or two do.")
    columns = task.setup.texts
    rows = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(columns) or not all(cells):
            raise UserError(
                f"{path}, line {number}: {task.name} has {len(columns)} text(s) an example, apart by tabs; this line "
                f"has {sum(map(bool, cells))}."
            )
        rows.append({c: cell.split() if task.kind in WORDS else cell for c, cell in zip(columns, cells, strict=True)})
    if not rows:
        raise UserError(f"{path} has no texts: give one example a line.")
    return Examples(rows, "texts", np.arange(len(rows)))


def texts_in(path: str | Path) -> list[tuple[str, str | None]]:
    """Each line's text, or two of them that a tab keeps apart; of no task.

    Raises: UserError where the file cannot be read, or a line has more texts.
    """
    found = []
    for number, line in enumerate(_lines(path), 1):
        first, *others = line.split("\t")
        if len(others) > 1:
            raise UserError(f"{path}, line {number} has {len(others) + 1} texts apart by tabs: give one or two.")
        if line.strip():
            found.append((first, others[0] if others else None))
    if not found:
        raise UserError(f"{path} has no texts: give one a line.")
    return found


def is_readable(path: str | Path) -> bool:
    """Whether it is a file, and no device or pipe that never ends: recipes and links come from anyone."""
    try:
        return Path(path).is_file() and Path(path).stat().st_size <= MOST_BYTES
    except (OSError, ValueError):
        return False


def content_of(path: str | Path) -> str:
    """Fingerprint of a file of texts, for keys of results; "" where there is none that can be read."""
    if not is_readable(path):
        return ""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return ""


def _lines(path: str | Path) -> list[str]:
    if not is_readable(path):
        raise UserError(f"{path} cannot be read as text: name a file of at most {MOST_BYTES >> 20} MB.")
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {getattr(error, 'strerror', None) or error}.") from None
