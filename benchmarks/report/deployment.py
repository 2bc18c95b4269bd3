"""What to deploy: MB, milliseconds and points of cut x int8 x vocabulary in each runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.deploy import MB, POINTS, REACH
from benchmarks.machine import RESULTS, committed
from benchmarks.report.markdown import interval, listed, named, points, table

NAME = "deploy"


def section() -> str:
    """Empty where nothing was measured yet."""
    return said(committed(NAME)) if (RESULTS / f"{NAME}.json").exists() else ""


def said(result: dict[str, Any]) -> str:
    cells = result["cells"]
    names = list(dict.fromkeys(cell["checkpoint"] for cell in cells))
    header = ["kept", "int8", "vocabulary", "runtime", "MB", f"x as fast, {REACH}", *map(named, names), "mean lost"]
    rows = [_row(mean, cells, names) for mean in result["means"]]
    left_out = f" Left out here: {listed(result['left_out'])}." if result["left_out"] else ""
    return f"""## What to deploy

Every model as it lies in its folder, answering and timed in its runtime. Kept: share of the encoder's FLOPs, plan by
`obs`, sequential repair, nothing trained. MB: weights and tokenizer, mean over the applications. Times as fast as dense
torch in the same turns, geometric mean. By application: points lost on the test split, 95 % paired intervals.{left_out}

{table(header, rows)}

{_best(result, POINTS[0], "best_at_1_point", f"the fastest of at most {MB:g} MB, else the smallest")}
{_best(result, POINTS[1], "best_at_2_points", "the smallest")}

{_int8(result)} Of {result["corruptions"]} corruptions that were planted in an exported folder,
{result["corruptions_caught"]} were caught. `python -m benchmarks.deploy` makes the table;
[deploy.json](../benchmarks/results/deploy.json) holds it, with the times of all batch sizes."""


def _row(mean: dict[str, Any], cells: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        (cell,) = [
            one
            for one in cells
            if one["checkpoint"] == name
            and all(one[key] == mean[key] for key in ("kept", "int8", "vocabulary", "runtime"))
        ]
        found.append(f"{points(cell['lost'])} {interval(cell['lost_interval'])}")
    kinds = ["yes" if mean[key] else "" for key in ("int8", "vocabulary")]
    figures = [f"{mean['mb']:.1f}", f"{mean['speedup']:.2f}"]
    return [f"{mean['kept']:g}", *kinds, mean["runtime"], *figures, *found, points(mean["lost"])]


def _best(result: dict[str, Any], most: float, name: str, rule: str) -> str:
    best = result[name]
    parts = [f"{best['kept']:g} of the FLOPs", *(key for key in ("int8", "vocabulary") if best[key])]
    return (
        f"At most {most:g} point{'s' * (most != 1)} lost on average ({rule}): {listed(parts)} in {best['runtime']}, "
        f"{best['mb']:.1f} MB, {best['speedup']:.1f} times as fast."
    )


def _int8(result: dict[str, Any]) -> str:
    if result["int8_worst_lost"] is None:
        return "int8 was not measured."
    slower = result["int8_slower"]
    slow = (
        f"slower than float32 in {len(slower)} cell{'s' * (len(slower) != 1)}"
        if slower
        else "in no cell slower than float32"
    )
    return f"int8 costs at most {result['int8_worst_lost']:.2f} points beyond the same model in float32, and is {slow}."
