"""What every verb has: options in the same words, errors as one sentence, progress on standard error.

What a verb computes with is imported inside it; of the engine, the help needs the lists of formats and packings alone.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_args

import typer

from asc_core.errors import Cancelled, UserError, first_line, is_failure
from asc_core.export import FORMATS, PACKINGS
from asc_core.progress import Progress
from asc_core.runtimes import RUNTIMES
from asc_core.values.shown import percent as percent

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task

EncoderArgument = Annotated[
    str, typer.Argument(metavar="ENCODER", help="A checkpoint or adapter folder, a hub id, or demo:NAME.")
]
TaskOption = Annotated[str, typer.Option("--task", help="A preset, a task file (TOML), or demo:NAME.")]
StudyOption = Annotated[Path, typer.Option("--study", help="The folder that keeps the results.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
SplitOption = Annotated[str, typer.Option("--split", help="Which split to measure on.")]
OnlySplitOption = Annotated[
    str | None, typer.Option("--split", help="For a task with a single split that is not train: use it for everything.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Draws samples and splits.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; by default the best there is.")]
BaseOption = Annotated[
    str | None, typer.Option("--base", help="For an adapter folder: the encoder under it, where it names another.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
FormatOption = Annotated[
    str, typer.Option("--format", help="; ".join(f"{form.name}: {form.about}" for form in FORMATS.values()) + ".")
]
PackingOption = Annotated[
    str | None,
    typer.Option(
        "--packing",
        help=f"How weights are stored: {' or '.join(PACKINGS)}; by default as the model asks for.",
    ),
]
DtypeOption = Annotated[str | None, typer.Option("--dtype", hidden=True, help="The old name of --packing.")]
Int8Option = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Put matrices into int8 last: with --task all but those that change too many of its answers, else all.",
    ),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", help="With --int8: a matrix, a path in every layer or a layer that stays float32; repeat."),
]
BatchOption = Annotated[int, typer.Option("--latency-batch", min=1, help="Batch size that latency budgets are for.")]
RuntimeOption = Annotated[
    str, typer.Option("--runtime", help=f"What runs the model: {', '.join(RUNTIMES)}; latency budgets are for it.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Of the runtime; by default as many as torch has here.")
]
RoundToOption = Annotated[
    int, typer.Option("--round-to", min=1, help="Round FFN widths to multiples of so many neurons, for the hardware.")
]
TransferOption = Annotated[
    bool, typer.Option("--transfer", help="Use a plan made from other weights of the same shape.")
]


RepairOption = Annotated[
    str | None,
    typer.Option(
        "--repair",
        help="As for `asc compress`; by default sequential, or shared-weights where layers share their weights.",
    ),
]


def verb(function: Callable[..., Any]) -> Callable[..., None]:
    """Errors become one sentence and an exit code; the returned object is printed."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            result = function(*args, **kwargs)
        except UserError as error:
            typer.echo(f"asc: {error}", err=True)
            raise typer.Exit(2) from None
        except (Cancelled, KeyboardInterrupt):
            typer.echo("asc: interrupted; what was finished is kept.", err=True)
            raise typer.Exit(130) from None
        except BaseException as error:
            if isinstance(error, Exception) or not is_failure(error):
                raise
            typer.echo(f"asc: a library broke off ({first_line(error)}): check the tokenizer of the model.", err=True)
            raise typer.Exit(2) from None
        if kwargs.get("as_json") and result is not None:
            typer.echo(json.dumps(result))

    return run


def progress_line() -> Progress:
    """A line on standard error that rewrites itself on a terminal, and says each tenth elsewhere."""
    terminal = sys.stderr.isatty()
    said = -1

    def report(done: int, total: int, what: str) -> None:
        nonlocal said
        tenth = 10 * done // max(total, 1)
        if terminal:
            end = "\n" if done >= total else ""
            print(f"\r\033[K{what}  {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif tenth != said:
            said = tenth
            print(f"{what}  {done}/{total}", file=sys.stderr, flush=True)

    return Progress(report)


def say(as_json: bool, text: str) -> None:
    typer.echo(text, err=as_json)


def load(
    encoder: str, task: str, seed: int, device: str | None, split: str | None = None, base: str | None = None
) -> tuple[Encoder, Task]:
    from asc_core import load_encoder, load_task

    return load_encoder(encoder, device=device, base=base), load_task(task, split_seed=seed, split=split)


def as_choice(option: str, value: str, choices: Any) -> Any:
    """An option's value as one of a Literal's, or of several joined by |. Raises: UserError that names them."""
    known = [value for each in get_args(choices) for value in get_args(each) or (each,)]
    if value not in known:
        raise UserError(f"{option} is one of {', '.join(known)}, not {value!r}.")
    return value


def repair_named(name: str) -> str | None:
    """As `Cut` takes it. Raises: UserError for an unknown one."""
    from asc_core.compress.repairs import check_repair

    return None if name == "none" else check_repair(name)


def repair_for(name: str | None, encoder: Encoder, as_json: bool) -> str | None:
    """As `Cut` takes it; the encoder's default where none is named, said where it is not the usual one.

    Raises: UserError for an unknown one, or one that the encoder cannot have.
    """
    from asc_core.compress.bottom_up import check_repairable
    from asc_core.compress.repairs import REPAIRS, default_repair

    chosen = repair_named(name or default_repair(encoder.shape))
    if chosen is not None:
        check_repairable(encoder, REPAIRS[chosen].shared)
    if name is None and encoder.shape.shares_weights:
        say(as_json, f"repair: {chosen}, as layers of {encoder.name} share their weights")
    return chosen


def unmet(as_json: bool, sentence: str, result: dict[str, Any]) -> NoReturn:
    """End a verb that did what it could, and found nothing as it was asked for: the result, the sentence, code 3."""
    if as_json:
        typer.echo(json.dumps(result))
    typer.echo(f"asc: {sentence}", err=True)
    raise typer.Exit(3)
