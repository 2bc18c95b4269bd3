"""What a cut costs: points lost without training, beside published methods at equal FLOPs."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.machine import committed
from benchmarks.quality import OURS, OUTCOMES, STRONGEST, WHOLE
from benchmarks.report.markdown import interval, listed, named, percent, points, table

Cell = dict[str, Any]
KEPT = (0.5, 0.3, 0.2)  # of the first table
OTHERS = (0.8, 0.6, 0.4)  # of the second
TITLES = {"kprune": "K-prune", "kwon": "Kwon"}


def section() -> str:
    cells = committed("quality")["cells"]
    return f"""## What a cut costs

Points of the test metric lost without any training (negative: gained), with the paired 95 % interval. Four checkpoints
of MiniLM-L6 (originals: {_originals()}), 1,024 calibration examples, every method within the same FLOPs. Ours is
`obs` with `--repair sequential`,
means of {_seeds(cells)} calibration seeds. K-prune and Kwon come with their own search and repair: Kwon of one seed,
K-prune of {_seeds_of(cells, "kprune")}. The last column is the best published score without any repair; layers by
similarity, layers by position and random parts are among them (on SQuAD below 40 % only four scores were run).

{_first(cells)}

{_summary(cells)}

At other budgets:

{_second(cells)}

{_unseen()} How tokens are weighted in the repair was chosen on validation splits (`python -m
benchmarks.token_weights`).
`python -m benchmarks.quality` makes these tables. Every method, with the number of its seeds, is in
[quality.json](../benchmarks/results/quality.json)."""


def mean_lost(kept: float, method: str) -> float:
    """Over the checkpoints."""
    return fmean(cell["all_lost"][method] for cell in _at(committed("quality")["cells"], (kept,)))


def _first(cells: list[Cell]) -> str:
    header = ["", "FLOPs kept", "ours", "K-prune", "Kwon", "best score alone"]
    return table(header, [[*_row(cell), _best_alone(cell)] for cell in _at(cells, KEPT)])


def _second(cells: list[Cell]) -> str:
    return table(["", "FLOPs kept", "ours", "K-prune", "Kwon"], map(_row, _at(cells, OTHERS)))


def _row(cell: Cell) -> list[str]:
    ours = f"{points(cell['lost'])} {interval(cell['interval'])}"
    return [named(cell["checkpoint"]), f"{100 * cell['kept']:.0f} %", ours, *(_lost(cell, one) for one in TITLES)]


def _lost(cell: Cell, method: str) -> str:
    return points(cell["all_lost"][method])


def _best_alone(cell: Cell) -> str:
    """A published score used as it is: not ours, and no method with a search of its own."""
    alone = {m: lost for m, lost in cell["all_lost"].items() if m not in WHOLE and "refit" not in m}
    best = min(alone, key=lambda method: alone[method])
    return f"{points(alone[best])} ({best})"


def _summary(cells: list[Cell]) -> str:
    shown = _at(cells, KEPT)
    means = {method: points(fmean(cell["all_lost"][method] for cell in shown)) for method in (OURS, *STRONGEST)}
    return (
        f"Mean of these {len(shown)} cells: ours {means[OURS]}, K-prune {means['kprune']}, Kwon {means['kwon']}; "
        f"{_against(shown)} {_lower(shown)}\n\n"
        f"Over all {len(cells)} cells of both tables: {_against(cells)}"
    )


def _against(cells: list[Cell]) -> str:
    """How often the paired interval of the difference to the best published method leaves out zero."""
    ahead = sum(cell["difference_interval"][1] < 0 for cell in cells)
    behind = sum(cell["difference_interval"][0] > 0 for cell in cells)
    return (
        f"against the best published method of each cell, ours loses less beyond the paired 95 % interval in {ahead}, "
        f"more in {behind}; {len(cells) - ahead - behind} are ties."
    )


def _lower(cells: list[Cell]) -> str:
    """Ties in which a published method has the better figure."""
    better = [
        f"{named(cell['checkpoint'])} at {100 * cell['kept']:.0f} % ({TITLES[cell['best_baseline']]} loses "
        f"{points(cell['lost'] - cell['best_baseline_lost'])} less)"
        for cell in cells
        if cell["best_baseline_lost"] < cell["lost"]
    ]
    return f"The published one has the lower figure in {listed(better)}." if better else ""


def _unseen() -> str:
    result = committed("unseen")
    (cell,) = result["cells"]
    return (
        f"On {result['examples']:,} other pairs of SICK, at {100 * cell['kept']:.0f} % of the FLOPs and "
        f"{cell['seeds'][OURS]} seeds each, ours loses {points(cell['lost'])} {interval(cell['interval'])}, K-prune "
        f"{_lost(cell, 'kprune')} and Kwon {_lost(cell, 'kwon')} (original: {percent(result['original'])}; "
        "`python -m benchmarks.unseen`)."
    )


def _originals() -> str:
    """From the outcomes by test example, whose first column has the metric as its mean."""
    with np.load(OUTCOMES) as packed:
        found = {name.partition("-0-dense")[0]: packed[name] for name in packed.files if "-0-dense" in name}
    return ", ".join(f"{named(name)} {percent(outcomes[:, 0].mean())}" for name, outcomes in found.items())


def _seeds(cells: list[Cell]) -> int:
    return min(cell["seeds"][OURS] for cell in cells)


def _seeds_of(cells: list[Cell], method: str) -> str:
    """One seed; 3 seeds; 3 seeds in SICK at 50 % and MRPC at 30 %, one seed elsewhere."""
    by_count: dict[int, list[str]] = {}
    for cell in cells:
        place = f"{named(cell['checkpoint'])} at {100 * cell['kept']:.0f} %"
        by_count.setdefault(cell["seeds"][method], []).append(place)
    words = {count: "one seed" if count == 1 else f"{count} seeds" for count in by_count}
    most = max(by_count, key=lambda count: len(by_count[count]))
    if len(by_count) == 1:
        return words[most]
    others = [f"{words[count]} in {listed(by_count[count])}" for count in sorted(by_count) if count != most]
    return f"{listed(others)}, {words[most]} elsewhere"


def _at(cells: list[Cell], kept: tuple[float, ...]) -> list[Cell]:
    return [cell for cell in cells if cell["kept"] in kept]
