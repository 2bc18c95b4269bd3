"""What one browser session holds: the study, the application and method in view, Tune's settings with undo and redo.

A view is a link: study, task, method and plan are in the address, and a new session starts from what it finds there.
What an address says comes from anyone, so a study can only be one that lies beside the one the dashboard was opened
with, and a plan only one that this study holds.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asc_core.errors import UserError
from asc_core.plan import Part
from asc_core.study import DATABASE, Study
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.state.cut_settings import REPAIR_NAMES, CutSettings
from dashboard.state.further_steps import from_link, to_link
from dashboard.state.pins import settings_of_plan
from dashboard.state.user import home_of

FOLDER_VARIABLE = "ASC_STUDY"
DEFAULT_FOLDER = "studies/demo"
LONGEST_HISTORY = 200
KEY = "asc-session"


@dataclass
class Session:
    """history[position] is what Tune's controls show; what lies behind it can be redone.

    selected: the cell in view on the Map, as (application, part). plan_key: the plan in view on Tune.
    chart_version: goes up to make charts forget what is selected in them. widget_version: goes up where the settings
    change without a widget being used, so that the widgets are made anew.
    consumed_jobs: the numbers of jobs whose result has become the settings.
    stop_at_half_width: an evaluation ends when its interval goes no further than this to either side; None = after all
    examples. other_tasks: whether a cut is also measured on the other applications. work_ahead: whether cuts that have
    not been asked for are measured while nothing else runs.
    user: who has logged in; None where nobody has to. good: the last settings that a page was drawn with.
    messages: sentences to show once, on the next page that is drawn.
    """

    folder: Path
    study: Study
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    application: str = ""
    method: str = ""
    history: list[CutSettings] = field(default_factory=list)
    position: int = -1
    selected: tuple[str, Part] | None = None
    plan_key: str | None = None
    messages: list[str] = field(default_factory=list)
    chart_version: int = 0
    widget_version: int = 0
    user: str | None = None
    good: CutSettings | None = None
    consumed_jobs: set[str] = field(default_factory=set)
    stop_at_half_width: float | None = None
    other_tasks: bool = True
    work_ahead: bool = True

    @property
    def settings(self) -> CutSettings | None:
        return self.history[self.position] if self.history else None

    def go(self, settings: CutSettings, by_control: bool = False) -> None:
        """New settings; what had been undone is gone. by_control: a widget was used, which shows them already."""
        if settings == self.settings:
            return
        self.widget_version += not by_control
        self.history = [*self.history[: self.position + 1], settings][-LONGEST_HISTORY:]
        self.position = len(self.history) - 1
        self._follow()

    def drew(self) -> None:
        """A page was drawn with these settings: one can go back to them."""
        self.good = self.settings

    def take_back(self) -> bool:
        """Leave settings that a page cannot be drawn with, for the last that it could; whether there was anything to
        leave."""
        if self.settings is None or self.settings == self.good:
            return False
        kept = [settings for settings in self.history[: self.position] if settings == self.good]
        self.history = kept[-1:]
        self.position = len(self.history) - 1
        self.plan_key = None
        self.widget_version += 1
        self._follow()
        return True

    def undo(self) -> None:
        self.jump(self.position - 1)

    def redo(self) -> None:
        self.jump(self.position + 1)

    def jump(self, position: int) -> None:
        if 0 <= position < len(self.history):
            self.position = position
            self.widget_version += 1
            self._follow()

    @property
    def can_undo(self) -> bool:
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        return self.position < len(self.history) - 1

    def chart_key(self, name: str) -> str:
        """A chart's key that forgets its selection: what a user has clicked cannot be cleared in any other way."""
        return f"{name}-{self.chart_version}"

    def open(self, folder: Path) -> None:
        """Another study. Raises: UserError, and then the old one stays."""
        self.study = Study.open(folder)
        self.folder = folder
        self.history, self.position, self.application, self.method, self.selected = [], -1, "", "", None
        self.plan_key = None
        self.chart_version += 1
        self.widget_version += 1

    def _follow(self) -> None:
        if self.settings is not None:
            self.application, self.method = self.settings.application, self.settings.method


def current(state: Any, address: Mapping[str, str], user: str | None = None) -> Session:
    """The session of this browser window, begun from its address the first time.

    state: streamlit's session state, or any mapping. user: who has logged in, where somebody has to. Raises: UserError.
    """
    if KEY not in state:
        state[KEY] = begin(address, user)
    return state[KEY]


def begin(address: Mapping[str, str], user: str | None = None) -> Session:
    """Raises: UserError if the study cannot be opened."""
    home = home_of(home_folder(), user)
    folder, messages = home, []
    wanted = address.get("study")
    if wanted is not None and wanted != home.name:
        beside = {path.name: path for path in studies_beside(home)}
        if wanted in beside:
            folder = beside[wanted]
        else:
            messages.append(f"There is no study {wanted} beside {home.name}; this is {home.name}.")
    session = Session(folder, Study.open(folder), user=user, messages=messages)
    known = {application.name for application in applications_of(session.study)}
    task = address.get("task", "")
    if task in known:
        session.application = task
    elif task:
        session.messages.append(f"There is no application {task} in the study {folder.name}.")
    session.method = address.get("method", "")
    plan_key = address.get("plan", "")
    if plan_key:
        settings = settings_of_plan(session.study, plan_key, session.application, session.method)
        if settings is not None and settings.application in known:
            session.go(replace(settings, **_of_recipe(address, session.messages)))
            session.plan_key = plan_key
        else:
            session.messages.append("The plan of this link is not in this study, so Tune starts anew.")
    return session


def _of_recipe(address: Mapping[str, str], messages: list[str]) -> dict[str, Any]:
    """What an address says of the recipe beside its plan, as fields of settings; what makes no sense is left out."""
    repair = address.get("repair")
    fields: dict[str, Any] = {"repair": repair} if repair in REPAIR_NAMES else {}
    try:
        return fields | {"then": from_link(address.get("then", ""))}
    except UserError as error:
        messages.append(f"{error} The link is opened without them.")
        return fields | {"then": ()}


def home_folder() -> Path:
    """The study that the dashboard was opened with."""
    return Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def studies_beside(home: Path) -> list[Path]:
    """The study the dashboard was opened with, and those in the same folder."""
    parent = home.absolute().parent
    found = sorted(path.parent for path in parent.glob(f"*/{DATABASE}")) if parent.is_dir() else []
    others = [path for path in found if path != home.absolute()]
    return [home, *others]


def address(session: Session) -> dict[str, str]:
    """What to write into the address bar. The plan is there once it is kept in the study."""
    settings = session.settings if session.plan_key else None
    found = {
        "study": session.folder.absolute().name,
        "task": session.application,
        "method": session.method,
        "plan": session.plan_key or "",
        "repair": settings.repair if settings is not None else "",
        "then": to_link(settings.then) if settings is not None else "",
    }
    return {name: value for name, value in found.items() if value}


def application_in_view(session: Session, applications: list[Application]) -> Application:
    """The one that was chosen, else one that there are scores of. Raises: UserError where there is none at all."""
    if not applications:
        raise UserError("This study has no application yet; add one on the Overview page.")
    found = next((one for one in applications if one.name == session.application), None)
    if found is None:
        scored = stored_scores.scored(session.study, applications)
        found = max(applications, key=lambda one: (one.name in scored, one.trained))  # the first of the best
        session.application = found.name
    return found
