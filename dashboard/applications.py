"""The place of `add` and `remove` in earlier versions; scripts that were written for these find them here."""

from __future__ import annotations

from dashboard.state.applications import add, applications_of, remove

__all__ = ["add", "applications_of", "remove"]
