"""What all pages have in common, drawn by streamlit without a browser, on a real study with a tiny encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from asc_core.study import Study
from dashboard.state import session as sessions
from tests.dashboard.conftest import APP, html_of
from tests.dashboard.views.windows import Open

pytestmark = pytest.mark.slow  # whole pages, minutes in all


@pytest.mark.parametrize("view", ["overview", "map", "tune", "compare", "export"])
def test_every_page_of_an_empty_study_says_what_to_do_next(view: str, study: Study, open_page: Open) -> None:
    app = open_page(view)
    assert not app.exception
    assert not app.error or view == "tune"
    text = html_of(app) + " ".join(str(e.proto) for e in app.get("page_link"))
    assert {
        "overview": "Next step: score an application",
        "map": "Nothing has been scored",
        "tune": "add one on the Overview page",
        "compare": "No matrix has been measured yet",
        "export": "There is no cut yet",
    }[view] in text


def test_a_study_that_cannot_be_opened_is_said_in_the_page(
    study: Study, monkeypatch: pytest.MonkeyPatch, open_page: Open, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    monkeypatch.setenv(sessions.FOLDER_VARIABLE, str(tmp_path / "notes.txt"))
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not app.exception
    assert "notes.txt is a file; a study is a folder" in app.error[0].value
