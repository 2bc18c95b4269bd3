"""What comes behind an export: onto a hub, into a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import JsonOption, progress_line, say, verb

ExportedArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `asc export` wrote.")]


@verb
def push(
    folder: ExportedArgument,
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the hub.")],
    yes: Annotated[bool, typer.Option("--yes", help="Send it. Without, it is only said what would be sent.")] = False,
    public: Annotated[bool, typer.Option("--public", help="For everybody to see; by default it is private.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Put the files into a repository that is there already.")
    ] = False,
    run_its_code: Annotated[bool, typer.Option("--run-its-code", help="As for `asc verify`.")] = False,
    as_json: JsonOption = False,
) -> Any:
    """Verify an exported folder and send it to the Hugging Face hub, with your token (`hf auth login` or HF_TOKEN).

    Nothing is sent without --yes; what is sent are the files that were exported, and no others.

    Example: asc push nli-onnx me/nli-onnx --yes
    """
    from asc_core.export.push import push as send
    from asc_core.export.push import sending
    from asc_core.export.verify import verify

    planned = sending(folder, repository, private=not public)
    found = verify(folder, run_its_code=run_its_code, progress=progress_line())
    say(as_json, f"{folder} answers like the model that was exported (folder's digest {found.digest[:16]}).")
    whose = "private" if planned.private else "public"
    result = {
        "repository": repository,
        "private": planned.private,
        "files": list(planned.files),
        "bytes": planned.bytes,
        "digest": found.digest,
        "sent": yes,
    }
    if not yes:
        for name, size in planned.files.items():
            say(as_json, f"  {size:>12,}  {name}")
        say(as_json, f"{len(planned.files)} files, {planned.bytes / 1e6:.1f} MB, would go to {repository} ({whose}).")
        say(as_json, "Nothing was sent: say --yes.")
        return result
    address = send(planned, overwrite=overwrite)
    say(as_json, f"{address} ({whose}): {len(planned.files)} files, {planned.bytes / 1e6:.1f} MB.")
    return result | {"address": address}


@verb
def serve(folder: ExportedArgument, as_json: JsonOption = False) -> Any:
    """Which servers take an exported folder, and the lines that start them. Nothing is started.

    Example: asc serve nli-onnx
    """
    from dataclasses import asdict

    from asc_core.export.servers import serving

    found = serving(folder)
    for server in found.servers:
        say(as_json, f"{server.name} ({server.page})")
        for line in server.lines:
            say(as_json, f"  {line}")
        if server.note:
            say(as_json, f"  {server.note}")
    if found.why:
        say(as_json, found.why)
    return asdict(found)
