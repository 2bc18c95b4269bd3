"""Is what is kept still what was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import JsonOption, say, unmet, verb


@verb
def doctor(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="The folder of a study.")],
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside", help="Move what is damaged into STUDY/damaged and keep the rest; close the dashboard first."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> Any:
    """Compare everything in a study with its digests, and say what is damaged. Exit code 3 where something is.

    Example: asc doctor studies/demo
    """
    from asc_core import doctor as care

    health = care.set_aside(study) if set_aside else care.examine(study)
    result = {
        "study": str(study),
        "files": health.files,
        "rows": health.rows,
        "damaged": [str(damage) for damage in health.damages],
        "set_aside": set_aside and bool(health.damages),
    }
    for damage in health.damages:
        say(as_json, str(damage))
    if health.damages and not set_aside:
        count = len(health.damages)
        unmet(
            as_json,
            f"{count} of what {study} holds is damaged: `asc doctor {study} --set-aside` keeps the rest.",
            result,
        )
    if health.damages:
        say(as_json, f"{len(health.damages)} set aside in {study / care.ASIDE}; the rest is whole.")
    else:
        say(as_json, f"{study}: {health.files:,} files and {health.rows:,} rows are what was written.")
    return result
