"""Which score to believe: every method against exact ablation and by the loss curve of its order."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import committed
from benchmarks.report.markdown import table


def section() -> str:
    result = committed("trust")
    tables = "\n\n".join(_kind(kind, result) for kind in result["summary"])
    return f"""## Which score to believe

Area: the loss above the original's while parts go in a method's order, on held-out validation examples, relative to
random orders (1 = no better than chance, 0 = free); mean and worst of {len(result["applications"])} applications (the
five of the demo and
four more checkpoints). rho: Spearman correlation with exact ablation on training examples, mean. Best: in how many
applications the method has the lowest area, or one that cannot be told from it.

{tables}

Exact ablation knows of single parts only, so its order can be worse than others'. Without a repair, `michel` is the
default where there are labels; with a repair, `obs`. `asc faithfulness` measures the same on your application.
Intervals,
ceilings of the correlations and every application are in [trust.md](../benchmarks/results/trust.md)
(`python -m benchmarks.trust`)."""


def _kind(kind: str, result: dict[str, Any]) -> str:
    rows = [
        [
            f"`{method}`",
            f"{one['area']:.2f}",
            f"{one['worst_area']:.2f}",
            f"{one['rho']:.2f}",
            str(one["best"]),
            str(one["best_or_as_good"]),
        ]
        for method, one in result["summary"][kind].items()
    ]
    header = [kind, "mean area", "worst area", "mean rho", "best", "best or as good"]
    return table(header, rows)
