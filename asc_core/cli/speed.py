"""How fast models are where they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import DeviceOption, JsonOption, progress_line, say, verb
from asc_core.errors import UserError
from asc_core.runtimes import RUNTIMES


@verb
def speed(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Encoders or exported folders of any format, the one to compare with first."
        ),
    ],
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            "--runtime",
            help=f"What runs an encoder: {', '.join(RUNTIMES)}; may be repeated, by default all that are installed. An "
            "exported graph runs in its own.",
        ),
    ] = None,
    batch_size: Annotated[list[int] | None, typer.Option("--batch-size", min=1, help="May be repeated.")] = None,
    tokens: Annotated[list[int] | None, typer.Option("--tokens", min=1, help="Of each text; may be repeated.")] = None,
    threads: Annotated[list[int] | None, typer.Option("--threads", min=1, help="May be repeated.")] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Turns, in each of which each model runs once.")
    ] = 30,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> Any:
    """Milliseconds of a forward pass in each runtime: models in turns in one process, medians with quartiles.

    Example: asc speed demo:nli smaller --batch-size 1 --batch-size 32 --tokens 24 --threads 1
    """
    import torch

    from asc_core.evaluate.layer_times import device_name
    from asc_core.evaluate.speeds import speeds

    found = speeds(
        loaders_of(models, runtime, device, max(tokens or [0])),
        batch_size or [1],
        tokens or [128],
        threads or [1],
        repeats=repeats,
        progress=progress_line(),
    )
    here = device_name(torch.device("cpu"))
    say(as_json, f"milliseconds of a forward pass, median [quartiles] of {repeats} turns; {here}")
    said = None
    for one in found:
        if one.conditions != said:
            said = one.conditions
            say(as_json, f"{said.batch_size} x {said.tokens} tokens, {said.threads} threads")
        interval = f"[{one.low:.2f}, {one.high:.2f}]"
        say(as_json, f"  {one.model:<24} {one.runtime:<12} {one.ms:9.2f} {interval:<20} {one.ratio:.2f} x as fast")
    return {"machine": here, "speeds": [one.to_json() for one in found]}


def loaders_of(models: list[str], runtimes: list[str] | None, device: str | None, most_tokens: int = 0) -> Any:
    """(model, runtime) -> what loads it on so many threads.

    most_tokens: that it has to take. Raises: UserError before anything is exported for a runtime.
    """
    from functools import partial

    from asc_core import load_encoder
    from asc_core.evaluate.speeds import check_takes
    from asc_core.runtimes import installed, runtime_named, session

    for name in runtimes or []:
        runtime_named(name)
    found: dict[tuple[str, str], Any] = {}
    for model in models:
        folder = Path(model)
        graph = next((one.name for one in RUNTIMES.values() if one.form and one.takes(folder)), None)
        if graph is not None:
            if runtimes and graph not in runtimes:
                raise UserError(f"{model} is for {graph}, which is not among the runtimes that --runtime names.")
            found[model, graph] = partial(session, folder, graph)
            continue
        encoder = load_encoder(model, device=device)
        check_takes(encoder, most_tokens, model)
        every = [name for name in installed() if encoder.has_parts or RUNTIMES[name].form is None]
        for name in runtimes or every:
            found[model, name] = partial(session, encoder, name)
    return found
