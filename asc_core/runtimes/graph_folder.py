"""What runtimes of graphs share: an encoder leaves by the format that the runtime loads, into a temporary folder.

Formats stand above what is timed here (an export is timed, too), so they are looked up when an encoder is to leave.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoConfig

from asc_core import modeling
from asc_core.errors import UserError, first_line

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.runtimes.session import Session


def through_format(form: str, encoder: Encoder, load: Callable[[Path], Session]) -> Session:
    """Raises: UserError where the format cannot take the encoder."""
    format = importlib.import_module("asc_core.export.formats").FORMATS[form]
    refusal = format.refuses(encoder)
    if refusal is not None:
        raise UserError(refusal)
    packing = encoder.packing if encoder.packing in format.packings else "float32"
    with tempfile.TemporaryDirectory(prefix="asc-graph-") as folder:
        format.write(encoder, Path(folder), modeling.PACKINGS[packing])
        return load(Path(folder))


def facts_of(folder: Path) -> tuple[int, int | None]:
    """(tokens that it has embeddings for, tokens of a text at most) by a folder's plain configuration.

    Raises: UserError where there is none to read.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no config.json that can be read ({first_line(error)}).") from None
    return int(config.vocab_size), modeling.most_tokens(config)
