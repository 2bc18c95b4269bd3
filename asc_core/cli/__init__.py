"""The `asc` command: the engine's verbs, one function each.

Results go to standard output (with --json as one object), progress and remarks to standard error. Exit codes: 0 done,
2 the input cannot be used (one sentence says why), 3 nothing is as it was asked for (the nearest is given), 130
interrupted; anything else is our mistake.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.care import doctor
from asc_core.cli.choosing import choose
from asc_core.cli.cutting import compress, frontier
from asc_core.cli.data import check, task
from asc_core.cli.fitting import fit
from asc_core.cli.handing_over import push, serve
from asc_core.cli.models import convert, evaluate, export, verify
from asc_core.cli.planning import latency, plan
from asc_core.cli.renamed import Command
from asc_core.cli.scoring import faithfulness, scan, score
from asc_core.cli.several import matrix, shared
from asc_core.cli.speed import speed
from asc_core.cli.stored import scores
from asc_core.cli.tickets import ticket
from asc_core.cli.training import distil, finetune, recipe
from asc_core.cli.verb import JsonOption, StudyOption, percent, verb
from asc_core.cli.vocabulary import vocabulary
from asc_core.errors import UserError
from asc_core.machine_memory import VARIABLE, bound_of


@verb
def demo(as_json: JsonOption = False) -> Any:
    """What the embedded demo holds, with each application's measured test metric.

    Example: asc demo
    """
    from asc_core.demo import applications

    found = [application.to_json() for application in applications()]
    if not as_json:
        for entry in found:
            report = entry["report"]
            measured = (
                f"{report['metric']} {percent(report['value'])} "
                f"[{percent(report['interval'][0])}, {percent(report['interval'][1])}] on {report['examples']} "
                f"{report['split']} examples"
                if report
                else "not trained"
            )
            typer.echo(f"demo:{entry['name']:<11} {entry['kind']:<20} {measured}")
            typer.echo(f"{'':<17}{entry['description']}")
        typer.echo("\nNext: asc dashboard, or asc score demo:nli --task demo:nli --study studies/demo")
    return {"applications": found}


@verb
def dashboard(
    study: StudyOption = Path("studies/demo"),
    port: Annotated[int, typer.Option(help="http://localhost:PORT")] = 8501,
    memory: Annotated[
        str | None,
        typer.Option(help="What may be kept for speed, such as 4GB; by default a quarter of this machine's memory."),
    ] = None,
) -> None:
    """Open the dashboard on http://localhost:8501.

    Example: asc dashboard --study studies/mine
    """
    from importlib.util import find_spec

    package = find_spec("dashboard")  # found, not imported: the engine does not depend on its interface
    page = Path(package.origin).parent / "serve.py" if package is not None and package.origin else None
    if page is None or not page.exists():
        raise UserError("The dashboard is not installed beside asc_core: install the whole project (make setup).")
    command = [sys.executable, "-m", "streamlit", "run", str(page), "--server.port", str(port)]
    # Threads that wait for one another sleep: beside the browser on the same cores, or anything else, those that spin
    # make a repair of seconds take minutes.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | {"ASC_STUDY": str(study.resolve())}
    if memory is not None:
        environment[VARIABLE] = str(bound_of(memory, "--memory"))
    os.chdir(page.parent.parent)  # Streamlit reads its theme from .streamlit in the folder that it is started in
    if os.name == "posix":
        os.execve(sys.executable, command, environment)  # whoever ends this process ends the server
    raise typer.Exit(subprocess.call(command, env=environment))


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See which parts of a Transformer encoder an application does not need, cut them, take the result away.",
)
for _verb in (
    demo,
    task,
    check,
    score,
    scores,
    latency,
    plan,
    faithfulness,
    scan,
    vocabulary,
    compress,
    frontier,
    choose,
    fit,
    evaluate,
    speed,
    export,
    verify,
    push,
    serve,
    finetune,
    distil,
    ticket,
    recipe,
    matrix,
    shared,
    convert,
    doctor,
    dashboard,
):  # in the order of the help
    app.command(cls=Command)(_verb)
app.command("trust", hidden=True, cls=Command)(faithfulness)  # its name before; for one version


def main() -> None:
    app()
