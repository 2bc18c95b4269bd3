"""Values from JSON that may come from anyone: a dataclass's own annotations say what it may hold."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Value = TypeVar("Value")


def parsed(of: TypeAdapter[Value], data: Any) -> Value:
    """The value that JSON data describes. Raises: ValidationError; what its `__post_init__` raises is inside one.

    By way of the text, since only there does a strict reader take a list for a tuple and an object for a dataclass.
    """
    return of.validate_json(json.dumps(data, default=repr))


def first_fault(error: ValidationError) -> str:
    """The first field that is wrong, and how."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
