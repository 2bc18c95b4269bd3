"""What a model takes where it is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import JsonOption, progress_line, say, verb


@verb
def device(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `asc export --format device` wrote.")],
    beside: Annotated[
        str | None, typer.Option("--beside", metavar="ENCODER", help="The original, asked in torch in turns with it.")
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option("--texts", help="Texts to ask, one a line, a pair apart by a tab; by default own sentences."),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Turns, in each of which each text is asked.")] = 30,
    as_json: JsonOption = False,
) -> Any:
    """What a device's model takes: bytes on disk and in memory, seconds to start, milliseconds of an answer.

    Measured in a process of its own, on one thread, one text at a time.

    Example: asc device small --beside demo:nli
    """
    from asc_core.export.comparison import TEXTS
    from asc_core.export.device_report import device_report
    from asc_core.tasks.text_file import texts_in

    asked = texts_in(texts) if texts is not None else TEXTS
    found = device_report(folder, asked, beside=beside, repeats=repeats, progress=progress_line())
    for line in found.lines():
        say(as_json, line)
    return found.to_json()
