"""Taking a model away: directories that load with transformers, each reloaded and compared before it gets its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asc_core.errors import UserError
from asc_core.export.card import Card
from asc_core.export.compact import export_compact
from asc_core.export.convert import convert
from asc_core.export.dense import export_dense
from asc_core.export.directory import ExportReport
from asc_core.progress import Progress
from asc_core.values import Plan

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

FORMATS = {"compact": export_compact, "dense": export_dense}


def export(
    encoder: Encoder,
    out: str | Path,
    format: str = "compact",
    *,
    plan: Plan | None = None,
    card: Card | None = None,
    original: Encoder | None = None,
    texts: Sequence[str | Sequence[str]] | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Write an encoder, cut or not, as a directory that loads with transformers.

    format: "compact" (its own widths, with the one file of code that builds them) or "dense" (loads with the original
    architecture's class; cut heads and neurons are zeros). plan: the cut that made this encoder, written beside it.
    original: the uncut encoder, for the comparisons on the card. texts: single texts or pairs of the application, on
    which the reloaded model is compared (the first 64, at most 256 tokens each); own sentences by default. dtype:
    "float32" or "float16", how weights are stored; they are computed in float32 if loaded with `dtype=torch.float32`.
    overwrite: whether a model directory at `out` may be replaced.

    The directory appears at `out` only after it was reloaded in a fresh process and its outputs were found within
    1e-4 of those in memory (float16: of those with rounded weights).
    Raises: UserError where `out` is taken or its disk full, where the format cannot hold the cut, or where the
    reloaded model differs; Cancelled. In each case `out` is as it was before.
    """
    check_format(format)
    return FORMATS[format](
        encoder,
        out,
        plan=plan,
        card=card,
        original=original,
        texts=texts,
        dtype=dtype,
        overwrite=overwrite,
        progress=progress,
    )


def check_format(format: str) -> None:
    """Raises: UserError where there is no such format."""
    if format not in FORMATS:
        raise UserError(f"There is no format {format!r}; choose {' or '.join(FORMATS)}.")


__all__ = ["FORMATS", "Card", "ExportReport", "check_format", "convert", "export", "export_compact", "export_dense"]
