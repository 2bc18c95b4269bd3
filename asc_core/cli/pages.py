"""The dashboard: what it is started with, and who may come in."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import StudyOption, say, verb
from asc_core.errors import UserError
from asc_core.machine_memory import VARIABLE, bound_of

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SETTINGS = "streamlit.toml"  # beside the pages


@verb
def dashboard(
    study: StudyOption = Path("studies/demo"),
    port: Annotated[int, typer.Option(help="http://localhost:PORT")] = 8501,
    memory: Annotated[
        str | None,
        typer.Option(help="What may be kept for speed, such as 4GB; by default a quarter of this machine's memory."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on, such as 0.0.0.0; one that other machines reach needs --share."),
    ] = "127.0.0.1",
    share: Annotated[
        Path | None,
        typer.Option(
            metavar="PASSWORDS",
            help="Let in who has a password in this file (`asc password`), each to studies of their own.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", help="By which name the dashboard is reached from elsewhere, or behind a proxy; may be repeated."
        ),
    ] = None,
) -> None:
    """Open the dashboard on http://localhost:8501, for this machine alone.

    Example: asc dashboard --study studies/mine
    """
    from importlib.util import find_spec

    package = find_spec("dashboard")  # found, not imported: the engine does not depend on its interface
    page = Path(package.origin).parent / "serve.py" if package is not None and package.origin else None
    if page is None or not page.exists():
        raise UserError("The dashboard is not installed beside asc_core: install the whole project (make setup).")
    if share is None and not _is_this_machine(host):
        raise UserError(
            f"--host {host} lets others reach this machine's files and your studies: say --share PASSWORDS with it, a "
            "file that `asc password PASSWORDS NAME` makes."
        )
    # Threads that wait for one another sleep: beside the browser on the same cores, or anything else, those that spin
    # make a repair of seconds take minutes.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | {"ASC_STUDY": str(study.resolve())}
    environment["ASC_HOSTS"] = ",".join(_names(host, name or []))
    environment.pop("ASC_PASSWORDS", None)
    if share is not None:
        from asc_core.passwords import read_passwords

        read_passwords(share)
        environment |= {"ASC_PASSWORDS": str(share.resolve()), "ASC_REACH": "own"}
    if memory is not None:
        environment[VARIABLE] = str(bound_of(memory, "--memory"))
    # On the command line, so that they hold wherever the package is installed and whatever the environment says.
    said = tomllib.loads((page.parent / SETTINGS).read_text(encoding="utf-8"))
    del said["server"]["address"]  # `--host` says it here
    settings = [*_flags(said)]
    where = ["--server.port", str(port), "--server.address", host]
    command = [sys.executable, "-m", "streamlit", "run", str(page), *settings, *where]
    os.chdir(page.parent.parent)  # `dashboard` is imported from there
    if os.name == "posix":
        os.execve(sys.executable, command, environment)  # whoever ends this process ends the server
    raise typer.Exit(subprocess.call(command, env=environment))


@verb
def password(
    passwords: Annotated[Path, typer.Argument(metavar="PASSWORDS", help="The file for `asc dashboard --share`.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose password it is.")],
) -> None:
    """Keep the hash of a password, which is asked for, in a file that `asc dashboard --share` lets people in by.

    Example: asc password passwords.txt ada
    """
    from asc_core.passwords import keep_password

    keep_password(passwords, name, typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    say(False, f"{name} may come in: asc dashboard --share {passwords} --host 0.0.0.0 --name THIS-MACHINE")


def _is_this_machine(host: str) -> bool:
    """Whether only this machine reaches the address. Raises: UserError where it is none."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UserError(f"--host is an address of this machine such as 127.0.0.1 or 0.0.0.0, not {host!r}.") from None


def _names(host: str, named: list[str]) -> list[str]:
    """Under which the pages answer."""
    bad = next((each for each in named if not each or set(each) & set(",/@ ") or each != each.strip()), None)
    if bad is not None:
        raise UserError(f"--name is a name such as studio.example.org, without a port, not {bad!r}.")
    own = [] if _is_this_machine(host) else [socket.gethostname(), socket.getfqdn()]
    listened = [] if host in ("0.0.0.0", "::") else [host]
    return [*dict.fromkeys([*LOOPBACK, *listened, *own, *named])]


def _flags(settings: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """A table of settings as Streamlit's options."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flags(value, f"{before}{name}.")
        else:
            yield f"--{before}{name}"
            yield value if isinstance(value, str) else json.dumps(value)
