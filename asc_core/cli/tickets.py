"""Lottery tickets of a pre-trained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    EncoderArgument,
    JsonOption,
    SeedOption,
    SplitOption,
    TaskOption,
    load,
    percent,
    progress_line,
    say,
    verb,
)


@verb
def ticket(
    encoder: EncoderArgument,
    task: TaskOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that keeps what each round finds.")],
    parts: Annotated[bool, typer.Option("--parts", help="Tickets of heads and neurons instead of weights.")] = False,
    method: Annotated[str, typer.Option("--method", "-m", help="With --parts: what chooses them.")] = "obs",
    rate: Annotated[float, typer.Option(min=0.001, max=0.999, help="Share of the rest that a round prunes.")] = 0.1,
    rounds: Annotated[int, typer.Option(min=1, help="How often it prunes.")] = 6,
    early: Annotated[int, typer.Option(min=0, help="Rewind to the state after so many steps; 0 = as loaded.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Searches, each by a seed of its own.")] = 1,
    dense_seeds: Annotated[int, typer.Option(min=1, help="Trainings of the whole model.")] = 3,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", help="random, reinitialised, shuffled, untrained or none; repeat; default all."),
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="Another application's folder of tickets; repeat.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 3,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Of each training, at most.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Default: 5e-5.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better validation metric.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many training examples.")] = None,
    split: SplitOption = "validation",
    samples: Annotated[int | None, typer.Option(min=1, help="Only so many examples to measure on.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """Does a small part of a pre-trained encoder, trained alone, do as well? Prunes, rewinds and trains in rounds.

    Killed and repeated, it resumes; with more rounds it goes on. Example: asc ticket demo:encoder --task demo:nli
    --rounds 3 --limit 1000 -o tickets
    """
    from asc_core.json_files import write_json
    from asc_core.train.options import TrainingOptions
    from asc_core.train.ticket_kinds import PartTickets, TicketKind, WeightTickets
    from asc_core.train.ticket_report import overlaps, overlaps_of_seeds, report
    from asc_core.train.tickets import TicketSettings, find_tickets, seeds_from

    start, application = load(encoder, task, seed, device, base=base)
    settings = TicketSettings(
        rate,
        rounds,
        early,
        seeds_from(seed, seeds),
        seeds_from(seed, dense_seeds),
        tuple(name for name in control if name != "none") if control else None,
        epochs,
        max_steps,
        TrainingOptions.of({"lr": learning_rate, "batch_size": batch_size, "patience": patience, "limit": limit}),
        split,
        samples,
    )
    kind: TicketKind = PartTickets(method) if parts else WeightTickets()
    result = report(find_tickets(start, application, out, settings, kind, progress_line()))
    result["overlap"] = [entry for other in against or () for entry in overlaps(out, other)]
    result["overlap_of_seeds"] = overlaps_of_seeds(out)
    write_json(out / "report.json", result)
    for line in _lines(result):
        say(as_json, line)
    return {"path": str(out), **result}


def _lines(result: dict[str, Any]) -> list[str]:
    dense = result["dense"]
    about = f"{result['metric']} on {result['examples']:,} {result['split']} examples"
    said = [f"whole model: {_value(dense)} ({about})"]
    for entry in result["rounds"]:
        others = [f"{name} {_value(value)}" for name, value in entry.items() if name not in ("round", "sparsity")]
        said.append(f"{percent(entry['sparsity'])} gone: {', '.join(others)}")
    for entry in result["overlap"]:
        said.append(
            f"round {entry['round']}: of the weights that either keeps, {percent(entry['jaccard'])} are kept by "
            f"{entry['with']}, too (by chance {percent(entry['chance'])})"
        )
    if dense["deviation"] is None:
        said.append("which tickets match cannot be said of one seed: give --dense-seeds 3")
    elif result["matching"] is None:
        said.append("no ticket is within one standard deviation of the whole model")
    else:
        said.append(f"tickets match the whole model up to {percent(result['matching'])} gone")
    return said


def _value(of_seeds: dict[str, Any]) -> str:
    spread = "" if of_seeds["deviation"] is None else f" ± {percent(of_seeds['deviation'])}"
    return f"{percent(of_seeds['mean'])}{spread}"
