"""The reasons that libraries give, without their advice to programmers, which a user of ours cannot follow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from asc_core.errors import UserError, first_line

_ADVICE = re.compile(
    r"ignore_mismatched_sizes|trust_remote_code|above report|report above|see (the|above)|refer to|documentation|pip install|\binstall\b|https?://|from_pretrained|"
    r"force_download|make sure|you (can|need|should|must)\b|please|otherwise,|if you|pull request|open an issue",
    re.IGNORECASE,
)


def reason(error: BaseException) -> str:
    """The first line of an error without sentences of advice; its kind where nothing is left."""
    if isinstance(error, StrictDataclassError) and error.__cause__ is not None:
        error = error.__cause__  # it says which value was expected
    line = first_line(error)
    if line.endswith(":"):  # "Error(s) in loading state_dict for X:", and what they are in the next
        line = " ".join(str(error).split()).rstrip(".")[:300]
    said = [part for part in re.split(r"(?<=[.!?]) +", line) if not _ADVICE.search(part)]
    return " ".join(said).rstrip(" .:") or f"the library says no more than {type(error).__name__}"


def json_object(path: Path) -> dict[str, Any]:
    """Raises: UserError where the file is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} cannot be read: it is not a JSON object.")
    return content
