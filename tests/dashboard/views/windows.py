"""What a user does in a window, for tests of the pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from asc_core.study import Study
from asc_core.values import Plan
from dashboard.state import applications
from dashboard.state import session as sessions
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.widgets import page
from tests.dashboard.conftest import settled, write_task

Open = Callable[..., AppTest]


def session_of(app: AppTest) -> Session:
    return app.session_state[sessions.KEY]


def click(app: AppTest, chart: str, *cells: list) -> AppTest:
    """As if these cells of a chart had been clicked; cells as in `customdata`."""
    key = session_of(app).chart_key(chart)
    app.session_state[key] = {"selection": {"points": [{"customdata": cell} for cell in cells], "point_indices": []}}
    return settled(app.run())


def control(widgets: Any, key: str) -> Any:
    """One of Tune's controls; behind its name the key carries a generation."""
    (found,) = [widget for widget in widgets if re.split("[.:]", widget.key or "")[0] == key]
    return found


def add_another(study: Study, checkpoint: Path, folder: Path) -> Application:
    """A second application on the same encoder, scored by fisher."""
    from asc_core.scores import sweep

    (folder / "other").mkdir()
    other = applications.add(study, str(checkpoint), str(write_task(folder / "other", "others")), "others")
    models = page.models()
    sweep(models.encoder(other), models.task(other), ["fisher"], samples=16, seed=1, study=study)
    return other


def current_plan(app: AppTest, study: Study) -> Plan:
    plan = study.plan(session_of(app).plan_key or "")
    assert plan is not None
    return plan
