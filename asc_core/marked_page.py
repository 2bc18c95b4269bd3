"""Pages of which a part is generated: what stands between two marks is made anew, the rest is left as it is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from asc_core.errors import UserError

END = "<!-- end of what is generated -->"


def rewritten(page: str, begin: str, made: str) -> str:
    """The page with `made` between the marks `begin` and `END`. Raises: UserError where a mark is missing."""
    before, found, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise UserError(f"The page has no place for what is generated: write {begin} and {END} into it.")
    return f"{before}{begin}\n{made}\n{END}{after}"


def rewrite(described: Callable[[str], str], about: str | None) -> None:
    """The command of a module that makes a part of a page: `described` of the page that the command line names."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page
    page.write_text(described(page.read_text(encoding="utf-8")), encoding="utf-8")
