"""A report of trust made up for tests."""

from __future__ import annotations

import json
from typing import Any

from dashboard.tables.trust_report import Report

REMOVED = [0.0, 0.5, 1.0]


def judged(method: str, area: float | None, spearman: float, ends: list[float] | None = None) -> dict[str, Any]:
    found = {
        "parts": 12,
        "spearman": spearman,
        "spearman_interval": [spearman - 0.1, spearman + 0.1],
        "kendall": 0.7 * spearman,
        "kendall_interval": None,
        "top_overlap": 0.5,
        "top_share": 0.25,
    }
    return {
        "method": method,
        "labels": "gold",
        "split": "train",
        "examples": 64,
        "agreement": {"heads": found, "ffn": found},
        "curves": {"heads": [1.0, 1.2, 3.0]},
        "areas": {"heads": area},
        "area_intervals": {"heads": ends},
    }


def report(
    best: str | None = "fisher", as_good: tuple[str, ...] = (), ends: tuple[float, float] | None = (0.3, 0.5)
) -> Report:
    data = {
        "task": "nli",
        "weights": "w",
        "truth": {"split": "train", "examples": 48},
        "held_out": {"split": "validation", "examples": 64},
        "reliability": {"heads": 0.64},
        "ceiling": {"heads": 0.8},
        "removed": {"heads": REMOVED},
        "chance": {"heads": [1.0, 2.0, 3.0]},
        "methods": [
            judged("magnitude", 1.2, -0.2, [1.1, 1.3]),
            judged("ablation", 0.5, 1.0),
            judged("fisher", 0.4, 0.6, list(ends) if ends else None),
            judged("random", 0.9, 0.0),
            judged("michel", 0.6, 0.7, [0.5, 0.7]),
        ],
        "believe": {"heads": {"method": best, "as_good": list(as_good)}},
    }
    return Report.model_validate(json.loads(json.dumps(data)))
