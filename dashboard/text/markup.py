"""Text for HTML."""

from __future__ import annotations

import html


def escape(text: str) -> str:
    """What a user or a study says, so that it cannot be taken for markup, inside attributes either."""
    return html.escape(text, quote=True)
