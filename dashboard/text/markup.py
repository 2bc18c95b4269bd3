"""Text for HTML."""

from __future__ import annotations

import html


def escape(text: str) -> str:
    """What a user or a study says, so that it cannot be taken for markup, inside attributes either."""
    return html.escape(text, quote=True)


def bare(text: str) -> str:
    """What a name, a message or a file says, for places that read Markdown: no link in it is live, and no image of it
    is fetched."""
    for sign, instead in _LINKS.items():
        text = text.replace(sign, instead)
    return text


# The backslash first. Brackets by themselves are intervals.
_LINKS = {
    "\\": "\\\\",
    "](": "]\\(",
    "][": "]\\[",
    "]:": "]\\:",
    "<": "\\<",
    "://": "\\://",
    "www.": "www\\.",
}
