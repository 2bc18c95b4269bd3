"""Words in columns, as CoNLL's shared tasks have them: one word a line with its tags, an empty line between texts."""

from __future__ import annotations

import re
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.decoding import format_of, text_of
from asc_core.tasks.sources.table import FileOptions, Lines, Table

_TAG = re.compile(r"O|[BIESLU][-_].+")
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"\d+([-.]\d+)?")  # of a word, "1-2" and "1.1" for what is no word of its own (CoNLL-U)


def read_columns(path: Path, split: str, options: FileOptions) -> Table:
    text, notes = text_of(path, options.encoding)
    return columns_table(path, text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), options, notes)


def looks_like_columns(lines: list[str]) -> bool:
    """Whether every line has as many fields, the last of which are tags."""
    fields = [_fields(line) for line in lines[:2000] if line.strip() and not _skipped(line)]
    if not fields or len({len(cells) for cells in fields}) != 1 or not 2 <= len(fields[0]) <= 12:
        return False
    return "O" in {cells[-1] for cells in fields} and all(_TAG.fullmatch(cells[-1]) for cells in fields)


def columns_table(path: Path, lines: list[str], options: FileOptions, notes: tuple[str, ...]) -> Table:
    """Columns are called "tokens" (the words), "tags" (the last) and "column2", ... by place, or as `columns` says."""
    universal = format_of(path) == ".conllu"
    texts: list[list[list[str]]] = [[]]
    starts: list[int] = [0]
    width = len(options.columns) if options.columns else 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            if texts[-1]:
                texts.append([])
                starts.append(0)
            continue
        cells = _fields(line)
        if _skipped(line) and len(cells) != width:
            continue
        width = width or len(cells)
        if len(cells) != width or width < 2:
            raise UserError(
                f"{path}, line {number} has {len(cells)} fields, not {max(width, 2)}: give each word one line with its "
                "tags, and put an empty line between texts."
            )
        texts[-1].append(cells)
        starts[-1] = starts[-1] or number
    if not texts[-1]:
        texts.pop()
        starts.pop()
    numbered = width > 2 and all(
        _NUMBER.fullmatch(cells[0]) and text[0][0][:1] in ("0", "1") for text in texts for cells in text
    )
    names = options.columns or _names(width, int(numbered), universal)
    if options.columns is None:
        shown = ", ".join(f"{i + 1} = {name}" for i, name in enumerate(names) if name in ("tokens", "tags"))
        notes = (*notes, f"{path} was read as words in columns: {shown}; `columns = [...]` under [data] names others.")
    rows: list[Row] = []
    for text in texts:
        words = [cells for cells in text if not (numbered and not cells[0].isdecimal())]
        rows.append({name: [cells[i] for cells in words] for i, name in enumerate(names)})
    return Table(rows, str(path), tuple(names), Lines(starts), notes=notes)


def _names(width: int, words: int, universal: bool) -> tuple[str, ...]:
    tags = 3 if universal and width > 3 else width - 1
    return tuple("tokens" if i == words else "tags" if i == tags else f"column{i + 1}" for i in range(width))


def _fields(line: str) -> list[str]:
    line = line.strip("\n")
    return line.split("\t") if "\t" in line else _BLANKS.split(line.strip())


def _skipped(line: str) -> bool:
    return line.startswith(("-DOCSTART-", "# "))
