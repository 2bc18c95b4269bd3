from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asc_core.scores.faithfulness import report_key
from asc_core.study import Study
from dashboard.tables.trust_report import report_of
from tests.dashboard.trust_reports import report


def test_methods_are_ranked_by_the_loss_while_parts_go_or_else_by_agreement() -> None:
    assert [m.method for m in report().ranked("heads")] == ["fisher", "ablation", "michel", "random", "magnitude"]
    assert [m.method for m in report().ranked("ffn")] == ["ablation", "michel", "fisher", "random", "magnitude"]


def test_methods_scored_after_the_report_are_missing_from_it() -> None:
    assert report().missing(["wanda", "fisher", "ablation", "ablation-metric", "flap"]) == ["wanda", "flap"]


@pytest.mark.parametrize("stored", [None, "x", {}, {"methods": []}, 3])
def test_what_is_no_report_counts_as_none(stored: Any, tmp_path: Path) -> None:
    study = Study.open(tmp_path / "study")
    study.set(report_key("w", "nli"), stored)
    assert report_of(study, "w", "nli") is None
    assert report_of(study, None, "nli") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"believe": {"heads": {"method": "unheard-of", "as_good": []}}},
        {"chance": {}},
        {"chance": {"heads": [1.0]}},
        {"chance_range": {"heads": [[1.0], [1.0]]}},
        {"removed": {"heads": [0.0, 1.0]}},
        {"removed": {"heads": []}, "chance": {"heads": []}},
    ],
)
def test_a_report_that_does_not_fit_together_counts_as_none(changed: dict[str, Any], tmp_path: Path) -> None:
    study = Study.open(tmp_path / "study")
    study.set(report_key("w", "nli"), report().model_dump())
    assert report_of(study, "w", "nli") == report()
    study.set(report_key("w", "nli"), report().model_dump() | changed)
    assert report_of(study, "w", "nli") is None
