"""SQuAD's JSON: articles, paragraphs, questions; one row a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.table import Table


def is_squad(data: Any) -> bool:
    """Articles under "data", rather than rows."""
    articles = data.get("data") if isinstance(data, dict) else None
    return isinstance(articles, list) and any(isinstance(a, dict) and "paragraphs" in a for a in articles)


def squad_table(path: Path, articles: list[Any]) -> Table:
    rows: list[Row] = []
    places: list[str] = []
    columns = ["id", "title", "context", "question"]
    for a, article in enumerate(articles):
        for p, paragraph in enumerate(_list(path, article, "paragraphs", f"data[{a}]")):
            here = f"data[{a}].paragraphs[{p}]"
            context = _field(path, paragraph, "context", here)
            for q, entry in enumerate(_list(path, paragraph, "qas", here)):
                row = {
                    "id": str(entry.get("id", len(rows))) if isinstance(entry, dict) else "",
                    "title": article.get("title", ""),
                    "context": context,
                    "question": _field(path, entry, "question", f"{here}.qas[{q}]"),
                }
                if "answers" in entry:
                    row["answers"] = entry["answers"]
                rows.append(row)
                places.append(f"question {row['id']}")
    if any("answers" in row for row in rows):
        columns.append("answers")
    return Table(rows, str(path), tuple(columns), places)


def _field(path: Path, entry: Any, name: str, place: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise UserError(f"{path}, {place} has no {name!r}: it is not SQuAD JSON.")
    return entry[name]


def _list(path: Path, entry: Any, name: str, place: str) -> list[Any]:
    found = _field(path, entry, name, place)
    if not isinstance(found, list):
        raise UserError(f"{path}, {name!r} of {place} is no list: it is not SQuAD JSON.")
    return found
