"""From data to a task file, and what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    JsonOption,
    OnlySplitOption,
    OverwriteOption,
    SeedOption,
    progress_line,
    say,
    verb,
)
from asc_core.errors import UserError
from asc_core.tasks.kinds import KINDS


@verb
def task(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="CSV, TSV, JSON, JSONL, Parquet, Excel, CoNLL columns, ... (docs/data.md), or a folder with a file "
            "for each split. Beside train.csv, files called dev.csv and test.csv are taken for its splits.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The task file; default: beside the data, ending in .toml.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help=f"Of task: {', '.join(KINDS)}.")] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A column with text; twice for pairs, in their order.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="The column with labels; repeated: one 0/1 column a label.")
    ] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="There are no labels.")] = False,
    slots: Annotated[str | None, typer.Option("--slots", help="Of intent-slots: the column with tags.")] = None,
    label_name: Annotated[
        list[str] | None,
        typer.Option("--label-name", metavar="VALUE=NAME", help="A class's name for a value of the file; repeated."),
    ] = None,
    validation: Annotated[Path | None, typer.Option("--validation", help="The file of the validation split.")] = None,
    test: Annotated[Path | None, typer.Option("--test", help="The file of the test split.")] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Look for no other splits beside DATA.")] = False,
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="The column that says which split a row belongs to.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="Between fields, where it is not found.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of the text, where it is not found.")] = None,
    sheet: Annotated[str | None, typer.Option("--sheet", help="Of a workbook.")] = None,
    no_header: Annotated[bool, typer.Option("--no-header", help="The first line is a row, too.")] = False,
    no_quoting: Annotated[bool, typer.Option("--no-quoting", help="Quotation marks are plain text.")] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> Any:
    """Write a task file for data: its kind, columns, labels and splits are guessed, and every guess is said.

    What you say is not guessed. The file is read with all its splits before it is written; it can be edited at will.

    Example: asc task reviews.csv --label stars --kind regression -o reviews.toml
    Then: asc check reviews.toml
    """
    from asc_core.tasks.files_of_splits import files_of_splits
    from asc_core.tasks.guess import Given
    from asc_core.tasks.new_task_file import new_task_file

    if unlabelled and label:
        raise UserError("Say either --label or --unlabelled.")
    files = {"train": data} if alone and not data.is_dir() else files_of_splits(data)
    files |= {split: path for split, path in (("validation", validation), ("test", test)) if path is not None}
    path = out or (data / "task.toml" if data.is_dir() else data.parent / f"{data.name.split('.')[0]}.toml")
    if path.exists() and not overwrite:
        raise UserError(f"{path} is there already: name another file with -o, or say --overwrite.")
    chosen = None if not label else label[0] if len(label) == 1 else tuple(label)
    given = Given(kind, tuple(text or ()), chosen, slots, unlabelled)
    how = {"delimiter": delimiter, "encoding": encoding, "sheet": sheet, "split_column": split_column}
    options: dict[str, Any] = {name: value for name, value in how.items() if value is not None}
    options |= {"header": False} if no_header else {}
    options |= {"quoting": False} if no_quoting else {}
    made = new_task_file(files, path, given, options, _names(label_name or []))
    read = made.task(path)
    rows = {split: len(read.examples(split)) for split in read.splits}
    made.write(path)
    for note in made.notes:
        say(as_json, note)
    counted = ", ".join(f"{split} {count:,}" for split, count in rows.items())
    say(as_json, f"{path}: {made.content['kind']}; {counted}")
    say(as_json, f"Wrong guesses are corrected by options (asc task --help) or in the file. Next: asc check {path}")
    return {"path": str(path), "task": read.name, "rows": rows, "content": made.content, "notes": list(made.notes)}


def _names(given: list[str]) -> dict[str, str]:
    found = {}
    for each in given:
        value, equals, name = each.partition("=")
        if not equals or not value or not name:
            raise UserError(f"--label-name is VALUE=NAME, as in --label-name 0=negative, not {each!r}.")
        found[value] = name
    return found


@verb
def check(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A preset, a task file (TOML), or demo:NAME.")],
    encoder: Annotated[
        str | None, typer.Argument(metavar="[ENCODER]", help="Also: what its tokenizer and its labels make of it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Examples of a split that are tokenised, drawn by seed.")] = 10_000,
    split: OnlySplitOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """What is in a task: rows, labels, lengths, duplicates, texts of train in test, what was guessed while reading.

    With an encoder also: tokens, what is truncated, what the tokenizer does not know, and which of its outputs each
    label is. Exit code 2 where something keeps it from being used; everything else is said all the same.

    Example: asc check my-task.toml my-model
    """
    import asc_core
    from asc_core.tasks.check import check_task

    application = asc_core.load_task(task, split_seed=seed, split=split)
    loaded = asc_core.load_encoder(encoder, device=device, base=base) if encoder is not None else None
    found = check_task(application, loaded, limit, seed, progress_line())
    notes = loaded.notes if loaded is not None else ()
    for line in found.lines():
        say(as_json, line)
    for note in notes:
        say(as_json, f"note: {note}")
    result = found.to_json() | {"notes": [*found.notes, *(note for note in notes if note not in found.notes)]}
    if not found.problems:
        return result
    if as_json:
        typer.echo(json.dumps(result))
    for problem in found.problems:
        typer.echo(f"asc: {problem}", err=True)
    raise typer.Exit(2)
