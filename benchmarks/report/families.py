"""Every family of compression alone and together, beside a library's or a paper's own way."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import RESULTS, committed
from benchmarks.report.markdown import interval, named, points, table

NAME = "families"


def section() -> str:
    """Empty where nothing was measured yet."""
    return said(committed(NAME)) if (RESULTS / f"{NAME}.json").exists() else ""


def said(result: dict[str, Any]) -> str:
    cells = result["cells"]
    names = list(dict.fromkeys(cell["application"] for cell in cells))
    header = ["", "bytes", "FLOPs", *map(named, names), "mean lost", "ahead of"]
    beyond = result["beyond_budget"]
    rows = [_row(line, cells, names) for line in result["families"]]
    left_out = "".join(f" {name} was left out: no step {lacking}." for name, lacking in result["left_out"].items())
    left_out += "".join(f" Nothing within {name} was found; what stands there is larger." for name in beyond)
    return f"""## Every family

Each family alone at one strength, and several under one budget in bytes (`asc fit`). Bytes: of the weights as they are
stored, a share of the original's in float32; FLOPs: of the layers. By application: points lost on the test split, 95 %
paired intervals; everything was chosen on training and validation texts. One seed. Ahead of: points that it keeps more
than what stands there, mean over what was measured. int8 here rounds weights alone; onnxruntime's own
rounds what they multiply, too.{left_out}

{table(header, rows)}

`python -m benchmarks.families --full` makes the table; [families.json](../benchmarks/results/families.json) holds it,
with the recipes."""


def _row(line: dict[str, Any], cells: list[dict[str, Any]], names: list[str]) -> list[str]:
    found = []
    for name in names:
        of = [cell for cell in cells if (cell["application"], cell["name"]) == (name, line["name"])]
        found.append(f"{points(of[0]['lost'])} {interval(of[0]['interval'])}" if of else "")
    ahead = f"{line['against']}: {points(line['ahead'])}" if "ahead" in line else ""
    sizes = [f"{100 * line[key]:.1f} %" for key in ("bytes", "flops")]
    return [line["name"], *sizes, *found, points(line["lost"]), ahead]
