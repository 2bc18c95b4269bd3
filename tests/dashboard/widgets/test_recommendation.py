from __future__ import annotations

import pytest

from dashboard.tables.trust_report import Report
from dashboard.widgets.recommendation import recommendation
from tests.dashboard.trust_reports import report


@pytest.mark.parametrize(
    ("made", "kind", "said"),
    [
        (report(), "heads", ["Fisher information", "40 %", "[30, 50]", "No other method is as good"]),
        (report(as_good=("michel",)), "heads", ["cannot tell it from", "Michel", "either will do"]),
        (report(as_good=("michel", "flap", "wanda", "update")), "heads", ["1 more", "any will do"]),
        (report(ends=(0.3, 1.1)), "heads", ["a hint and no finding"]),
        (report(ends=None), "heads", ["Lean towards <b>Fisher", "cannot be said", "measure on more"]),
        (report(best=None), "heads", ["No method yet", "64 validation examples"]),
        (report(), "ffn", ["Michel sensitivity", "most like exact ablation", "was not measured"]),
    ],
    ids=["one", "two", "many", "unsure", "no interval", "none", "no curve"],
)
def test_the_recommendation_says_which_method_and_how_sure(made: Report, kind: str, said: list[str]) -> None:
    text = recommendation(made, kind)
    for words in said:
        assert words in text


def test_neither_the_truth_nor_chance_is_ever_the_method_to_believe() -> None:
    for kind in ("heads", "ffn"):
        assert "Exact ablation</b>" not in recommendation(report(), kind)
        assert "<b>Random" not in recommendation(report(), kind)
