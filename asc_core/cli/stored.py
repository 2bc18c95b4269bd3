"""What a study holds, as numbers."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from asc_core.cli.verb import JsonOption, say, verb
from asc_core.errors import UserError
from asc_core.parts import KINDS

COLUMNS = ("task", "method", "weights", "split", "examples", "labels", "kind", "layer", "index", "score", "low", "high")
WIDEST = 32  # numbers in a line of the terminal


@verb
def scores(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A folder that `asc score` wrote into.")],
    task: Annotated[
        str | None, typer.Option("--task", help="A task as for `asc score`, or its name in the study; default: all.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="May be repeated; default: all.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help=f"Of part: {', '.join(KINDS)}; may be repeated; default: all."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Of which model, where a study has several: its fingerprint.")
    ] = None,
    to_csv: Annotated[Path | None, typer.Option("--csv", help="Write one line a part; - for standard output.")] = None,
    as_json: JsonOption = False,
) -> Any:
    """The numbers behind the maps: the stored score of every part, with its interval where the method has one.

    Layers, heads and neurons are counted from 0, as in plans. Of scores that were made several times, the newest count.

    Example: asc scores studies/demo --task demo:nli --method fisher --kind heads --csv heads.csv
    """
    if as_json and to_csv == Path("-"):
        raise UserError("--json and --csv - both write to standard output: name a file for one of them.")
    found = _newest(study, task, method or [], weights)
    kinds = kind or []
    unknown = next((each for each in kinds if each not in KINDS), None)
    if unknown is not None:
        raise UserError(f"--kind is one of {', '.join(KINDS)}, not {unknown!r}.")
    there = {name for one in found for name in one.values.by_kind}
    if kinds and not there & {*kinds}:
        named = ", ".join(dict.fromkeys(one.method for one in found))
        raise UserError(
            f"{named} says nothing about {', '.join(kinds)}: there are scores of {', '.join(sorted(there))}."
        )
    if to_csv is not None:
        _write_csv(to_csv, [row for one in found for row in _flat(one, kinds or None)])
        if to_csv != Path("-"):
            say(as_json, f"{to_csv}: {sum(len(one.rows(kinds or None)) for one in found):,} parts")
    elif not as_json:
        for one in found:
            _show(one, kinds or list(one.values.by_kind))
    return {"study": str(study), "scores": [_json(one, kinds or None) for one in found]}


def _newest(folder: Path, task: str | None, methods: list[str], weights: str | None) -> list[Any]:
    """The newest scores of each task, method and model. Raises: UserError where there are none, which says what is."""
    from asc_core.study import DATABASE, Study

    if not (folder / DATABASE).exists():
        raise UserError(f"There is no study at {folder}: asc score ENCODER --task TASK --study {folder}")
    study = Study.open(folder)
    index = study.score_index()
    if not index:
        raise UserError(f"{folder} holds no scores yet: asc score ENCODER --task TASK --study {folder}")
    name = _task_name(task, {row["task"] for row in index})
    wanted: dict[tuple[str, str, str], None] = {}
    for row in index:
        fits = (
            (name is None or row["task"] == name)
            and (not methods or row["method"] in methods)
            and (weights is None or row["weights"].startswith(weights))
        )
        if fits:
            wanted[row["task"], row["method"], row["weights"]] = None
    if not wanted:
        there = sorted({f"{row['task']}: {row['method']}" for row in index})
        asked = " and ".join(filter(None, [name, ", ".join(methods), weights]))
        more = f", ... ({len(there)} in all)" if len(there) > 20 else ""
        raise UserError(f"{folder} has no scores of {asked}; it has {'; '.join(there[:20])}{more}.")
    return [study.scores(*key)[0] for key in wanted]


def _task_name(task: str | None, stored: set[str]) -> str | None:
    """Under which a study keeps it: a name as it is, else that of the task which is named."""
    if task is None or task in stored:
        return task
    from asc_core.tasks import PRESETS, task_name

    names_a_task = task in PRESETS or task.endswith(".toml") or ":" in task or Path(task).is_file()
    return task_name(task) if names_a_task else task


def _flat(one: Any, kinds: list[str] | None) -> list[dict[str, Any]]:
    about = {name: getattr(one, name) for name in COLUMNS[:6]}
    return [about | row for row in one.rows(kinds)]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    if path == Path("-"):
        _write_rows(sys.stdout, rows)
        return
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            _write_rows(file, rows)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None


def _write_rows(file: Any, rows: list[dict[str, Any]]) -> None:
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in rows)


def _no_formula(value: Any) -> Any:
    """A spreadsheet would reckon a name that begins so."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _json(one: Any, kinds: list[str] | None) -> dict[str, Any]:
    about = ("task", "method", "weights", "split", "examples", "seed", "labels", "notes")
    parts = [{name: _finite(value) for name, value in row.items()} for row in one.rows(kinds)]
    return {**{name: getattr(one, name) for name in about}, "parts": parts}


def _finite(value: Any) -> Any:
    """JSON has no other numbers."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(one: Any, kinds: list[str]) -> None:
    seen = f"{one.examples:,} {one.split} examples, labels: {one.labels}" if one.examples else "no texts needed"
    typer.echo(f"{one.method} on {one.task}: {seen} (weights {one.weights})")
    for kind in kinds:
        values = one.values.by_kind.get(kind)
        if values is None:
            typer.echo(f"  {kind}: {one.method} says nothing about them")
        elif not isinstance(values, tuple):
            typer.echo(f"  {kind}: {_numbers(values)}")
        elif max(map(len, values), default=0) > WIDEST:
            typer.echo(f"  {kind} (lowest, median, highest of each layer; all with --csv or --json)")
            _lines([_spread(row) for row in values])
        else:
            typer.echo(f"  {kind}, a line a layer")
            _lines([_numbers(row) for row in values])
    if one.notes:
        typer.echo(f"  {one.notes}")


def _lines(texts: list[str]) -> None:
    for layer, text in enumerate(texts):
        typer.echo(f"  {layer:>4}  {text}")


def _numbers(values: Any) -> str:
    return " ".join(f"{value:>9.3g}" for value in values)


def _spread(values: Any) -> str:
    import numpy as np

    return _numbers((values.min(), np.median(values), values.max())) if len(values) else "none"
