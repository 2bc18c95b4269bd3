"""What fewer rows of the word embedding cost, with and without a margin."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import committed
from benchmarks.report.markdown import interval, named, percent, points, table


def section() -> str:
    result = committed("vocabulary")
    rows = [row for name, one in result["applications"].items() for row in _rows(name, one)]
    header = ["application", "rows kept", "MB", "coverage", "texts changed", "gained on all", "on changed texts"]
    correlations = [one["rank_correlation"] for one in result["applications"].values()]
    return f"""## Fewer rows of the word embedding

The step `vocabulary` alone: rows that the training texts use (at least so many times), and a margin of so many tokens
that they lack, by the order of WordPiece's ids. Validation, at most 500 examples, points against the original on the
same examples; MB of the whole model in float32. Coverage: share of validation's tokens whose rows are kept. Changed:
texts with a token whose row is gone; all others get the same answers. Rank correlation of the ids' order with the
applications' own counts: {min(correlations):.2f} to {max(correlations):.2f}. The checkpoints of MRPC and SQuAD were
trained on all of the file that this validation split is cut from (SICK's on part of it): the original has seen these
texts with all their tokens, so what is lost there may differ from what new texts lose. Rows were not chosen by them.

{table(header, rows)}

`python -m benchmarks.vocabulary` makes the table; `asc vocabulary` makes one of your application."""


def _rows(name: str, one: dict[str, Any]) -> list[list[str]]:
    whole = [f"{named(name)} (all)", f"{one['rows']:,}", points(one["mb"]), percent(1), percent(0), "", ""]
    return [whole, *(_row(cell) for cell in one["cells"])]


def _row(cell: dict[str, Any]) -> list[str]:
    chosen = (
        f"margin {cell['margin']:,}"
        if cell["margin"]
        else f"used {cell['least']} times"
        if cell["least"] > 1
        else "used"
    )
    lost = [
        f"{points(one['points'])} {interval(one['interval'])}" if one else ""
        for one in (cell["all"], cell["on_changed"])
    ]
    share = [percent(cell["coverage"]), percent(cell["changed"])]
    return [chosen, f"{cell['rows']:,}", points(cell["mb"]), *share, *lost]
