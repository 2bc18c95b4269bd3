from __future__ import annotations

from dashboard.panels.trust import table
from tests.dashboard.trust_reports import report


def test_the_table_shows_every_method_with_its_figures_and_the_ceiling() -> None:
    text = table(report(), "heads")
    for said in ("Fisher information", "0.40", "95 % interval 0.30 to 0.50", "0.60", "is the truth here", "0.80"):
        assert said in text
    assert text.count("<tr") == 1 + 5 + 1
    assert "loss under cumulative removal" not in table(report(), "ffn")
