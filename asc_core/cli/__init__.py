"""The `asc` command: the engine's verbs, one function each.

Results go to standard output (with --json as one object), progress and remarks to standard error. Exit codes: 0 done,
2 the input cannot be used (one sentence says why), 3 nothing is as it was asked for (the nearest is given), 130
interrupted; anything else is our mistake.
"""

from __future__ import annotations

from typing import Any

import typer

from asc_core.cli.care import doctor
from asc_core.cli.choosing import choose
from asc_core.cli.cutting import compress, frontier
from asc_core.cli.data import check, task
from asc_core.cli.device import device
from asc_core.cli.fitting import fit
from asc_core.cli.handing_over import push, serve
from asc_core.cli.models import convert, evaluate, export, verify
from asc_core.cli.pages import dashboard, password
from asc_core.cli.planning import latency, plan
from asc_core.cli.renamed import Command
from asc_core.cli.scoring import faithfulness, scan, score
from asc_core.cli.several import matrix, shared
from asc_core.cli.speed import speed
from asc_core.cli.stored import scores
from asc_core.cli.tickets import ticket
from asc_core.cli.training import distil, finetune, recipe
from asc_core.cli.verb import JsonOption, percent, verb
from asc_core.cli.vocabulary import vocabulary


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
    device,
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
    password,
    dashboard,
):  # in the order of the help
    app.command(cls=Command)(_verb)
app.command("trust", hidden=True, cls=Command)(faithfulness)  # its name before; for one version


def main() -> None:
    app()
