"""From an encoder or an exported folder to a session, by the runtime's name."""

from __future__ import annotations

from pathlib import Path

import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.runtimes.registry import RUNTIMES
from asc_core.runtimes.runtime import Runtime
from asc_core.runtimes.session import Session


def runtime_named(name: str) -> Runtime:
    """Raises: UserError where there is none of that name, or where it is not installed."""
    if name not in RUNTIMES:
        raise UserError(f"There is no runtime {name!r}; choose one of {', '.join(RUNTIMES)}.")
    missing = RUNTIMES[name].missing()
    if missing is not None:
        raise UserError(missing)
    return RUNTIMES[name]


def runtime_of(folder: str | Path) -> str:
    """The name of the runtime that an exported folder is for. Raises: UserError where it is for none."""
    found = next((runtime.name for runtime in RUNTIMES.values() if runtime.takes(Path(folder))), None)
    if found is None:
        raise UserError(f"{folder} is no folder that one of {', '.join(RUNTIMES)} loads: export a model into it.")
    return found


def session(what: Encoder | str | Path, runtime: str = "torch", threads: int | None = None) -> Session:
    """Load a model to answer and to be timed.

    Args:
        what: an encoder, which goes through the runtime's export format where it has one; or an exported folder.
        runtime: a name of `RUNTIMES`.
        threads: by default as many as torch has here.

    Raises:
        UserError: where the runtime is not there, or cannot run this model.
    """
    chosen = runtime_named(runtime)
    threads = torch.get_num_threads() if threads is None else threads
    if threads < 1:
        raise UserError(f"A runtime needs 1 or more threads, not {threads}.")
    if isinstance(what, Encoder):
        return chosen.of_encoder(what, threads)
    folder = Path(what)
    if not chosen.takes(folder):
        raise UserError(f"{folder} is for {runtime_of(folder)}, and {runtime} cannot load it: export it for {runtime}.")
    return chosen.of_folder(folder, threads)
