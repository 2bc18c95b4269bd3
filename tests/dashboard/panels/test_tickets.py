"""What the page says of tickets: the curve, the band of the whole model, and which match."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.charts.tickets import tickets_chart
from dashboard.measuring.tickets import Asked
from dashboard.panels.tickets import verdict
from tests.dashboard.charts.figures import PALETTES


def of_seeds(*values: float) -> dict[str, Any]:
    mean = sum(values) / len(values)
    return {"mean": mean, "deviation": 0.01 if len(values) > 1 else None, "values": dict(enumerate(values))}


REPORT: dict[str, Any] = {
    "kind": "weights",
    "metric": "accuracy",
    "split": "validation",
    "examples": 1500,
    "dense": of_seeds(0.80, 0.82),
    "rounds": [
        {"round": 1, "sparsity": 0.3, "ticket": of_seeds(0.81), "random": of_seeds(0.61)},
        {"round": 2, "sparsity": 0.51, "ticket": of_seeds(0.70)},
    ],
    "matching": 0.3,
}


@PALETTES
def test_the_ticket_stands_out_and_a_control_ends_where_it_was_trained(colours: Any) -> None:
    drawn = {trace.name: trace for trace in tickets_chart(REPORT, colours).data}
    assert list(drawn["ticket"].x) == pytest.approx([30, 51])
    assert list(drawn["random"].y) == pytest.approx([61])
    assert drawn["ticket"].line.width > drawn["random"].line.width


def test_what_matches_is_said_only_when_all_is_known() -> None:
    assert "up to <b>30 % gone</b>" in verdict(REPORT, False)
    assert "1 seed of tickets" in verdict(REPORT, False)
    assert "More trainings follow" in verdict(REPORT, True)
    assert "cannot be said of one seed" in verdict(REPORT | {"dense": of_seeds(0.8)}, False)
    assert "No ticket is within" in verdict(REPORT | {"matching": None}, False)


def test_more_rounds_go_on_where_fewer_ended_and_other_settings_elsewhere(tmp_path: Any) -> None:
    from asc_core.study import Study
    from dashboard.measuring.tickets import folder_of
    from dashboard.state.application import Application

    study = Study.open(tmp_path / "study")
    application = Application("words", "words", "encoder", "task")
    assert folder_of(study, application, Asked("e")) == folder_of(study, application, Asked("e", rounds=9, seeds=3))
    assert folder_of(study, application, Asked("e")) != folder_of(study, application, Asked("e", rate=0.5))
