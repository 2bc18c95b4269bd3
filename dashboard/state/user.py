"""Whose page is drawn, where several people share a server: each has a folder of studies, and nothing outside it.

Who it is comes from the doors (`dashboard/doors.py`), which no request gets past without a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from asc_core.errors import UserError
from asc_core.passwords import NAME

PASSWORDS_VARIABLE = "ASC_PASSWORDS"
HEADER = "x-asc-user"  # set by the doors; what a browser says under this name is thrown away
_USERS = "users"
_HUB_ID = re.compile(r"\w[\w.\-]*(/\w[\w.\-]*)?")


def user_of(headers: Mapping[str, str]) -> str | None:
    """None where nobody has to log in. Raises: UserError where somebody had to and has not."""
    if not os.environ.get(PASSWORDS_VARIABLE):
        return None
    said = {name.lower(): value for name, value in headers.items()}.get(HEADER, "")
    if not NAME.fullmatch(said):
        raise UserError("Nobody has logged in here: open the address of the dashboard again.")
    return said


def home_of(home: Path, user: str | None) -> Path:
    """Where a user's first study lies. home: the study that the dashboard was opened with."""
    return home if user is None else home.absolute().parent / _USERS / user / home.name


def check_place(place: str, home: Path, user: str | None) -> None:
    """place: an encoder or a task, as a user has typed it: a folder or file, a hub id, a preset, SCHEME:NAME.

    Raises: UserError where it is a file of this machine outside a user's own folder.
    """
    if user is None or _is_scheme(place):
        return
    own = home_of(home, user).parent
    here = Path(place).exists() or not _HUB_ID.fullmatch(place)
    if here and not Path(place).resolve().is_relative_to(own.resolve()):
        raise UserError(
            f"{place[:200]} is not in your own folder on this server, {own}: name a hub id or a file there."
        )


def _is_scheme(place: str) -> bool:
    """As demo:nli; what follows the colon is a name."""
    scheme, colon, name = place.partition(":")
    return bool(colon) and scheme.isalnum() and NAME.fullmatch(name) is not None
