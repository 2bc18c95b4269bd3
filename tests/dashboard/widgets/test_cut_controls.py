from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asc_core.study import Study
from dashboard.state.cut_settings import CutSettings
from dashboard.state.session import Session, begin
from dashboard.widgets import cut_controls
from dashboard.widgets.cut_controls import control

SETTINGS = CutSettings("words", "fisher")


@pytest.fixture
def window(study: Study) -> Session:
    return begin({})


def test_what_a_browser_says_of_an_older_widget_is_not_listened_to(
    window: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.widgets.cut_controls.st.session_state", {})
    drawn: list[dict[str, Any]] = []

    def draw() -> None:
        assert window.settings is not None
        control(lambda **options: drawn.append(options), window, "tune-keep", "keep", window.settings.keep)

    def use(widget: dict[str, Any], value: float) -> None:
        cut_controls.st.session_state[widget["key"]] = value
        widget["on_change"]()

    window.go(SETTINGS)
    draw()
    use(drawn[0], 0.5)
    draw()
    window.undo()
    draw()
    assert drawn[0]["key"] == drawn[1]["key"] != drawn[2]["key"]
    use(drawn[1], 0.5)
    assert window.settings == SETTINGS
    use(drawn[2], 0.4)
    assert window.settings == replace(SETTINGS, keep=0.4)


@pytest.mark.parametrize(
    ("options", "shown", "own", "others"),
    [
        ({"options": ["fisher", "michel"]}, "fisher", "michel", [None, "words", 3, True, ["fisher"]]),
        ({"min_value": 0, "max_value": 100}, 50, 70, [None, -1, 101, "70", True, float("nan")]),
        ({}, True, False, [None, 1, "x"]),
        ({}, "name", "other", [None, 1, True]),
    ],
)
def test_a_control_takes_its_own_options_alone(
    window: Session, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], shown: Any, own: Any, others: list[Any]
) -> None:
    state: dict[str, Any] = {}
    monkeypatch.setattr("dashboard.widgets.cut_controls.st.session_state", state)
    drawn: list[dict[str, Any]] = []
    window.go(SETTINGS)

    def use(value: Any) -> None:
        control(lambda **given: drawn.append(given), window, "tune-x", "method", shown, **options)
        state[drawn[-1]["key"]] = value
        drawn[-1]["on_change"]()

    for value in others:
        before = window.widget_version
        use(value)
        assert window.settings == SETTINGS
        assert window.widget_version > before, "and is made anew"
    state.pop(drawn[-1]["key"])
    drawn[-1]["on_change"]()
    assert window.settings == SETTINGS
    use(own)
    assert window.settings == replace(SETTINGS, method=own)
