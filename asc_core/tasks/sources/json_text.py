"""JSON as text, with every way in which it can be broken said in one sentence."""

from __future__ import annotations

import json
import re
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.sources.decoding import whole_characters

_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class Extra(Exception):
    """A JSON value is followed by another, as in JSON lines."""


def parse(text: str, where: str) -> Any:
    """where: file and line, for messages. Raises: UserError; Extra where more than one value stands there."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.pos > 0:
            raise Extra from None
        raise UserError(f"{where} is not valid JSON: {error}.") from None
    except RecursionError:
        raise UserError(f"{where} is not valid JSON: it is nested too deeply.") from None
    except ValueError:  # Python refuses to read numbers of thousands of digits
        raise UserError(f"{where} is not valid JSON: it holds a number of thousands of digits.") from None
    return whole_characters(value) if _ESCAPED_HALF.search(text) else value
