"""The model that a folder was cut from: found again where it lay, and only taken where its weights are the same."""

from __future__ import annotations

from asc_core.ancestry import Ancestor
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.loading import load_encoder

UNKNOWN = "What this model was cut from is not recorded in its folder, so there is no difference to an original here."


def found_again(ancestor: Ancestor, device: str | None = None) -> tuple[Encoder | None, str]:
    """(the ancestor itself, "") or (None, a sentence that says why the difference to it could not be measured)."""
    place = ancestor.folder or ancestor.source
    said = f"The original, `{ancestor.public_name}`,"
    so = "so the difference to it could not be measured; what it weighs is as it was recorded."
    if not place:
        return None, f"{said} was never written to a folder (a step of the same recipe made it), {so}"
    try:
        found = load_encoder(place, device=device)
    except UserError:
        return None, f"{said} could not be loaded from where it was when it was cut, {so}"
    if found.weights != ancestor.weights:
        return None, f"{said} has other weights now than when it was cut, {so}"
    return found, ""
