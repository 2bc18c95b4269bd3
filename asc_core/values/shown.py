"""How values show in a shell and in a notebook: in a line, or as a small table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

CELL = "padding: 0.1em 0.6em; text-align: right"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """Of a difference, in percentage points."""
    return f"{100 * value:+.1f}"


def html_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Text in any cell is escaped: names of tasks and models come from files."""
    head = "".join(f'<th style="{CELL}">{html.escape(str(name))}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{html.escape(_text(cell))}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_titled(title: str, *parts: str, notes: Iterable[str] = ()) -> str:
    said = "".join(f"<div><small>{html.escape(note)}</small></div>" for note in notes if note)
    return f"<div><div><b>{html.escape(title)}</b></div>{''.join(parts)}{said}</div>"


def heat_map(rows: Sequence[Iterable[float]], title: str) -> str:
    """One cell a value, a line of cells a row, darker where it is higher; the value stands in the cell's tooltip."""
    finite = [value for row in rows for value in row if value == value and abs(value) != float("inf")]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(
            f'<td title="layer {number}, {index}: {value:.3g}" style="width: 1em; height: 1em; padding: 0; '
            f'background: rgba(31, 119, 180, {_share(value, low, high):.2f})"></td>'
            for index, value in enumerate(row)
        )
        lines.append(f"<tr><td><small>{number}</small></td>{cells}</tr>")
    return f"<div><small>{html.escape(title)}</small><table><tbody>{''.join(lines)}</tbody></table></div>"


def _share(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        return 0.0
    return 0.05 + 0.95 * ((value - low) / (high - low) if high > low else 1.0)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
