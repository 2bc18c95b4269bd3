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
