"""Tables and figures as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

NAMES = {  # as the results name a task -> as a person does
    "sick": "SICK",
    "mrpc": "MRPC",
    "clinc150": "CLINC150",
    "squad": "SQuAD F1",
}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return (
        "\n".join("| " + " | ".join(line) + " |" for line in lines).replace("| --- ", "|---").replace("--- |", "---|")
    )


def wrapped(text: str) -> str:
    """Paragraphs in lines of at most 120 characters; tables and headings as they are."""
    blocks = text.split("\n\n")
    return "\n\n".join(block if block.startswith(("|", "#")) else _filled(block) for block in blocks)


def _filled(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), 120, break_long_words=False, break_on_hyphens=False)


def points(value: float) -> str:
    """One decimal, and no minus before a zero."""
    return f"{round(value, 1) + 0.0:.1f}"


def percent(share: float) -> str:
    """0.844 as 84.4."""
    return points(100 * share)


def interval(ends: Sequence[float]) -> str:
    low, high = ends
    return f"[{points(low)}, {points(high)}]"


def named(task: str) -> str:
    """minilm-sick, sick, demo:qa -> SICK, SICK, qa."""
    short = task.removeprefix("minilm-").removeprefix("demo:")
    return NAMES.get(short, short)


def listed(words: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
