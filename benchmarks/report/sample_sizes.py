"""How many calibration texts methods need: the curve, and the sample sizes that their authors chose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.machine import committed
from benchmarks.quality import FULL_SEEDS, OURS, SAMPLES
from benchmarks.report.markdown import interval, listed, named, points, table
from benchmarks.sample_sizes import AUTHORS_TEXTS, AUTHORS_TOKENS, CURVE_KEPT

Cell = dict[str, Any]
TITLES = {OURS: "ours", "kprune": "K-prune", "kwon": "Kwon"}
OWN = {"kprune": f"{AUTHORS_TOKENS:,} tokens", "kwon": f"{AUTHORS_TEXTS:,} texts"}


def section() -> str:
    """Of the tables that something was measured for: a curve has two points."""
    cells = committed("sample_sizes")["cells"]
    curve = [cell for cell in cells if cell["part"] == "curve"]
    authors = [cell for cell in cells if cell["part"] == "authors"]
    parts = []
    if len({cell["texts"] for cell in curve}) > 1:
        parts.append(
            f"""Points lost at {100 * CURVE_KEPT:.0f} % of the FLOPs by the number of calibration texts, in everything
else as above: means of {FULL_SEEDS} seeds, or of as many as stand in parentheses. A curve ends where the training split
does, or what the calibration may take of memory.

{_curve(curve)}

{_said(curve)}"""
        )
    if authors:
        parts.append(
            f"""{SAMPLES:,} texts are fewer than the authors of the two strongest published methods took. With as many
as they did (K-prune {OWN["kprune"]}, Kwon {OWN["kwon"]}; all of the training split where it has fewer), and ours with
the same; in brackets the paired 95 % interval of ours minus theirs, negative where ours loses less:

{_authors(authors)}"""
        )
    if not parts:
        return ""
    last = """`python -m benchmarks.sample_sizes` measures this;
[sample_sizes.json](../benchmarks/results/sample_sizes.json) has each seed's figures and all intervals."""
    return "\n\n".join(["### How many texts it takes", *parts, last])


def _curve(cells: list[Cell]) -> str:
    sizes = sorted({cell["texts"] for cell in cells})
    at = {(cell["checkpoint"], cell["texts"]): cell for cell in cells}
    rows = [
        [named(checkpoint), title, *(_lost(at.get((checkpoint, texts)), method) for texts in sizes)]
        for checkpoint in dict.fromkeys(cell["checkpoint"] for cell in cells)
        for method, title in TITLES.items()
    ]
    return table(["", "", *(f"{texts:,}" for texts in sizes)], rows)


def _said(cells: list[Cell]) -> str:
    """Per checkpoint: how many texts each published method takes to lose no more than ours with the fewest."""
    sentences = []
    for checkpoint in dict.fromkeys(cell["checkpoint"] for cell in cells):
        own = sorted((cell for cell in cells if cell["checkpoint"] == checkpoint), key=lambda cell: cell["texts"])
        fewest = own[0]
        goal = fewest["lost"][OURS]
        others = [method for method in TITLES if method != OURS and any(method in cell["lost"] for cell in own)]
        reached = [f"{TITLES[method]} {_reached(own, method, goal)}" for method in others]
        sentences.append(
            f"On {named(checkpoint)} ours loses {points(goal)} with {fewest['texts']} texts: {listed(reached)}."
        )
    return " ".join(sentences)


def _reached(cells: Iterable[Cell], method: str, goal: float) -> str:
    seen = [cell for cell in cells if method in cell["lost"]]
    first = next((cell["texts"] for cell in seen if cell["lost"][method] <= goal), None)
    return f"takes {first:,} for as little" if first else f"loses more with up to {seen[-1]['texts']:,}"


def _lost(cell: Cell | None, method: str) -> str:
    if cell is None or method not in cell["lost"]:
        return ""
    seeds = cell["seeds"][method]
    return points(cell["lost"][method]) + ("" if seeds == FULL_SEEDS else f" ({seeds})")


def _authors(cells: list[Cell]) -> str:
    """One row a checkpoint and budget: each published method as above, at its authors' size, and ours there."""
    before = {(cell["checkpoint"], cell["kept"]): cell for cell in committed("quality")["cells"]}
    rows = []
    for checkpoint, kept in dict.fromkeys((cell["checkpoint"], cell["kept"]) for cell in cells):
        here = {
            method: cell
            for cell in cells
            for method in cell["lost"]
            if (cell["checkpoint"], cell["kept"]) == (checkpoint, kept) and method != OURS
        }
        row = [named(checkpoint), f"{100 * kept:.0f} %"]
        for method in OWN:
            cell = here.get(method)
            row.append(points(before[checkpoint, kept]["all_lost"][method]))
            row += [_lost(cell, method), f"{_lost(cell, OURS)} {interval(cell['ahead'][method])}" if cell else ""]
        rows.append(row)
    header = ["", "FLOPs kept"]
    for method, own in OWN.items():
        header += [f"{TITLES[method]}, {SAMPLES:,} texts", f"{TITLES[method]}, {own}", f"ours, {own}"]
    return table(header, rows)
