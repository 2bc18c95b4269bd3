"""What training after the cut gets: ready-made recipes at equal size, and the table of the ASC paper."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import committed
from benchmarks.report.markdown import interval, listed, named, percent, points, table

TITLES = {
    "ASC+": "ASC+ (`asc-plus`)",
    "ASC+ untrained": "ASC+ before its distillation",
    "greedy": "greedy layers",
    "random": "random layers",
    "ASC": "ASC (layers at this size)",
    "Sajjad": "Sajjad (its top layers dropped before fine-tuning)",
}


def section() -> str:
    result = committed("asc")
    rows = result["sizes"]
    return f"""## Training after the cut

Points of the test metric lost to the fine-tuned original ({_originals(rows)}; negative: gained), with 50 and 30 % of
the
layers' parameters kept and {result["steps"]} steps of training after the cut, the same for all recipes. Intervals are
paired over test examples. A star marks means of 3 seeds; the others are one seed.

{_table(rows)}

{_verdict(rows)} With 30 % of the parameters, one whole layer of six is all that fits. {result["steps"]} steps of
distillation add little to the refit: where they do not help on validation, the refitted model is kept as it is.

{_spreads(rows)} Two groups of these figures come from a refit on 16,384 tokens (a quarter of the default) that leaves
the norms as they are: ASC+ on SICK and MRPC at 50 %, and ASC+ before its distillation on SQuAD.

`python -m benchmarks.asc` makes the table; [asc.json](../benchmarks/results/asc.json) holds it. SQuAD at 30 % has not
been measured.

### The thresholds of the ASC paper

Whole layers by similarity at the paper's thresholds, and its baselines, fine-tuned alike; MiniLM-L6 has six layers.
Size is of the stored model; speed-up is against the uncut model on the same machine.

{_paper(result["paper"])}

Six layers are few for rules that drop whole ones: at similarity 0.90 none of this encoder's layers is redundant."""


def mean_lost(method: str, size: float) -> float:
    """Over the tasks measured at this size."""
    rows = [row for row in committed("asc")["sizes"] if row["size"] == size]
    return sum(row["methods"][method]["lost"] for row in rows) / len(rows)


def _table(rows: list[dict[str, Any]]) -> str:
    header = ["", *(f"{named(row['task']).removesuffix(' F1')} {100 * row['size']:.0f} %" for row in rows)]
    return table(header, [[title, *(_cell(row, method) for row in rows)] for method, title in TITLES.items()])


def _cell(row: dict[str, Any], method: str) -> str:
    one = row["methods"][method]
    return f"{points(one['lost'])} {interval(one['lost_interval'])}{' *' if one['seeds'] > 1 else ''}"


def _originals(rows: list[dict[str, Any]]) -> str:
    return ", ".join({f"{named(row['task'])} {percent(row['original'])}": None for row in rows})


def _verdict(rows: list[dict[str, Any]]) -> str:
    """Whether either form of ASC+ has the lowest figure everywhere."""
    ours = ("ASC+", "ASC+ untrained")
    least = sum(
        max(row["methods"][name]["lost"] for name in ours)
        < min(one["lost"] for name, one in row["methods"].items() if name not in ours)
        for row in rows
    )
    where = "every column" if least == len(rows) else f"{least} of {len(rows)} columns"
    return f"Distilled or not, ASC+ loses least in {where}."


def _spreads(rows: list[dict[str, Any]]) -> str:
    """Standard deviations over seeds, where there are several."""
    said = []
    for row in rows:
        known = [
            f"{points(100 * row['methods'][method]['spread'])} ({'ASC+ undistilled' if 'un' in method else method})"
            for method in TITLES
            if row["methods"][method]["spread"] is not None
        ]
        if known:
            said.append(f"on {named(row['task'])} at {100 * row['size']:.0f} % {', '.join(known)}")
    return f"Standard deviations over seeds, in points: {'; '.join(said)}."


def _paper(rows: list[dict[str, Any]]) -> str:
    header = ["", "model", "metric", "size", "speed-up", "layers removed"]
    return table(header, map(_paper_row, rows))


def _paper_row(row: dict[str, Any]) -> list[str]:
    value = percent(row["value"])
    if row["spread"] is not None:
        value += f" (sd {percent(row['spread'])}, {row['seeds']} seeds)"
    removed = row.get("removed")
    layers = "" if removed is None else listed([str(layer + 1) for layer in removed]) if removed else "none"
    return [named(row["task"]), row["what"], value, f"{row['size']:.2f}", f"{row['speed_up']:.2f}", layers]
