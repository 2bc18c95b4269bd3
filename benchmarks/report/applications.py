"""What knowing the application is worth: cut for one, measured on every other."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import committed
from benchmarks.report.markdown import interval, named, percent, points, table

GENERAL = "general text"
MIXED = "all mixed"
TITLES = {GENERAL: "general text (Wikipedia sentences)"}


def section() -> str:
    result = committed("asc")
    first, *smaller = result["matrices"]
    return f"""## Is it worth knowing the application?

A row says what the cut knows of the applications: its scores and the texts of its repair come from there. A column is
the application whose model is cut and measured. Half of the layers' parameters are kept, repaired, nothing trained;
test metrics of three checkpoints of MiniLM-L6, means of {first["seeds"]} seeds, the originals' in brackets.

{_metrics(first)}

{_gap_sentence(first)} {_smaller(smaller)} Texts of the application matter, and more the less is kept. Where it is one
of three that are mixed, texts of its own alone are not shown to help further. A plan for the wrong application can be
worse than one for none. (MRPC's test split has 408 pairs: its column moves by 2 points by chance. This matrix comes
from a refit on 16,384 tokens, a quarter of the default, that leaves the norms as they are.)

The demo's five applications differ more than these three. Points lost to each model's original, half of the parameters,
{_seeds(result["demo_matrices"][0])}, test splits of 1,000:

{_lost(result["demo_matrices"][0])}

{_gap_sentence(result["demo_matrices"][0])} Cut for intents or for sentiment, the encoder is lost for questions on a
text
and for pairs.

`asc matrix` makes such a table of your applications, `python -m benchmarks.asc --matrix` and `--demo` these."""


def gap(row: str) -> tuple[float, list[float]]:
    """Points that not knowing the application costs against a row, on average, with the interval."""
    (found,) = [one for one in committed("asc")["matrices"][0]["prices"] if one["row"] == row]
    return found["points"], found["interval"]


def _metrics(matrix: dict[str, Any]) -> str:
    header = ["cut for", *(f"{named(task)} ({percent(value)})" for task, value in matrix["original"].items())]
    return table(header, [_row(matrix, row, percent) for row in matrix["cells"]])


def _lost(matrix: dict[str, Any]) -> str:
    original = matrix["original"]
    header = ["cut for", *(f"{named(task)} ({percent(value)})" for task, value in original.items())]
    rows = []
    for row, cells in matrix["cells"].items():
        lost = {task: original[task] - value for task, value in cells.items()}
        rows.append(_row({"cells": {row: lost}}, row, percent))
    return table(header, rows)


def _row(matrix: dict[str, Any], row: str, said: Any) -> list[str]:
    cells = matrix["cells"][row].items()
    values = [f"**{said(value)}**" if task == row else said(value) for task, value in cells]
    return [TITLES.get(row, named(row)), *values]


def _gap_sentence(matrix: dict[str, Any]) -> str:
    prices = {one["row"]: f"{points(one['points'])} points {interval(one['interval'])}" for one in matrix["prices"]}
    return (
        f"Not knowing the application costs {prices[GENERAL]} on average where the cut is made for general text, and "
        f"{prices[MIXED]} where it is made for all of them mixed."
    )


def _smaller(matrices: list[dict[str, Any]]) -> str:
    said = []
    for matrix in matrices:
        prices = {one["row"]: f"{points(one['points'])} {interval(one['interval'])}" for one in matrix["prices"]}
        kept = f"{100 * matrix['size']:.0f} % of the parameters ({_seeds(matrix)})"
        said.append(f"With {kept} it is {prices[GENERAL]} and {prices[MIXED]}.")
    return " ".join(said)


def _seeds(matrix: dict[str, Any]) -> str:
    return "one seed" if matrix["seeds"] == 1 else f"means of {matrix['seeds']} seeds"
