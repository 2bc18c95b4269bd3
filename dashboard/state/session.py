"""What one browser session holds: the study, the application and method in view, Tune's moves with undo and redo.

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
from asc_core.values import Plan
from dashboard.state.applications import Application, applications_of
from dashboard.state.cut_settings import REPAIR_NAMES, Move, recipe_of

FOLDER_VARIABLE = "ASC_STUDY"
DEFAULT_FOLDER = "studies/demo"
MOST_MOVES = 200
KEY = "asc-session"


@dataclass
class Session:
    """history[position] is the current move; what lies behind it can be redone.

    selected: the cell in view on the Map, as (application, part). plan_key: the plan in view on Tune.
    nonce: goes up to make charts forget what is selected in them. generation: goes up where the move changes without
    a widget being used, so that the widgets are made anew.
    taken: the numbers of jobs whose result has become a move.
    reach: an evaluation ends when its interval goes no further than this to either side; None = after all examples.
    elsewhere: whether a cut is also measured on the other applications.
    messages: sentences to show once, on the next page that is drawn.
    """

    folder: Path
    study: Study
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    application: str = ""
    method: str = ""
    history: list[Move] = field(default_factory=list)
    position: int = -1
    selected: tuple[str, Part] | None = None
    plan_key: str | None = None
    messages: list[str] = field(default_factory=list)
    nonce: int = 0
    generation: int = 0
    taken: set[str] = field(default_factory=set)
    reach: float | None = None
    elsewhere: bool = True

    @property
    def move(self) -> Move | None:
        return self.history[self.position] if self.history else None

    def go(self, move: Move, by_control: bool = False) -> None:
        """A new move; what had been undone is gone. by_control: a widget was used, which shows the move already."""
        if move == self.move:
            return
        self.generation += not by_control
        self.history = [*self.history[: self.position + 1], move][-MOST_MOVES:]
        self.position = len(self.history) - 1
        self._follow()

    def undo(self) -> None:
        self.jump(self.position - 1)

    def redo(self) -> None:
        self.jump(self.position + 1)

    def jump(self, position: int) -> None:
        if 0 <= position < len(self.history):
            self.position = position
            self.generation += 1
            self._follow()

    @property
    def can_undo(self) -> bool:
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        return self.position < len(self.history) - 1

    def fresh_key(self, name: str) -> str:
        """A chart's key that forgets its selection: what a user has clicked cannot be cleared in any other way."""
        return f"{name}-{self.nonce}"

    def open(self, folder: Path) -> None:
        """Another study. Raises: UserError, and then the old one stays."""
        self.study = Study.open(folder)
        self.folder = folder
        self.history, self.position, self.application, self.method, self.selected = [], -1, "", "", None
        self.plan_key = None
        self.nonce += 1
        self.generation += 1

    def _follow(self) -> None:
        if self.move is not None:
            self.application, self.method = self.move.application, self.move.method


def current(state: Any, address: Mapping[str, str]) -> Session:
    """The session of this browser window, begun from its address the first time.

    state: streamlit's session state, or any mapping. Raises: UserError.
    """
    if KEY not in state:
        state[KEY] = begin(address)
    return state[KEY]


def begin(address: Mapping[str, str]) -> Session:
    """Raises: UserError if the study cannot be opened."""
    home = home_folder()
    folder, messages = home, []
    wanted = address.get("study")
    if wanted is not None and wanted != home.name:
        beside = {path.name: path for path in studies_beside(home)}
        if wanted in beside:
            folder = beside[wanted]
        else:
            messages.append(f"There is no study {wanted} beside {home.name}; this is {home.name}.")
    session = Session(folder, Study.open(folder), messages=messages)
    known = {application.name for application in applications_of(session.study)}
    task = address.get("task", "")
    if task in known:
        session.application = task
    elif task:
        session.messages.append(f"There is no application {task} in the study {folder.name}.")
    session.method = address.get("method", "")
    plan_key = address.get("plan", "")
    if plan_key:
        move = move_of_plan(session.study, plan_key, session.application, session.method)
        if move is not None and move.application in known:
            repair = address.get("repair")
            session.go(replace(move, repair=repair) if repair in REPAIR_NAMES else move)
            session.plan_key = plan_key
        else:
            session.messages.append("The plan of this link is not in this study, so Tune starts anew.")
    return session


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
    found = {
        "study": session.folder.absolute().name,
        "task": session.application,
        "method": session.method,
        "plan": session.plan_key or "",
        "repair": session.move.repair if session.plan_key and session.move is not None else "",
    }
    return {name: value for name, value in found.items() if value}


def keep_move(study: Study, plan: Plan, move: Move) -> None:
    """So that a link to the plan, or its pin, brings the controls back to where they were."""
    study.save_plan(plan)
    for key in (f"move:{plan.key}", f"move:{move.application}:{plan.key}"):  # one plan may suit several applications
        study.set(key, move.to_json())


def move_of_plan(study: Study, plan_key: str, application: str, method: str) -> Move | None:
    """The move that made a plan, or for one from elsewhere a fixed one; None where the study does not hold the plan."""
    plan = study.plan(plan_key)
    if plan is None:
        return None
    for key in (f"move:{application}:{plan_key}", f"move:{plan_key}"):
        move = Move.from_json(study.get(key))
        if move is not None and application in ("", move.application):
            return move
    return Move(
        application=application or plan.provenance.task or "",
        method=method or plan.provenance.method or "",
        rule="fixed",
        plan_key=plan_key,
        repair="none",
    )


def pin(study: Study, name: str, plan: Plan, move: Move) -> None:
    """A plan may be pinned under several names, each with a repair of its own."""
    study.save_recipe(recipe_of(plan, move.repair, move.transfer), name)
    keep_move(study, plan, move)
    study.set(f"pin-move:{name}", {"plan": plan.key, "move": move.to_json()})


def move_of_pin(study: Study, name: str, plan: Plan, application: str, method: str) -> Move | None:
    """As `move_of_plan`; None also where the study holds no such plan."""
    stored = study.get(f"pin-move:{name}")
    if isinstance(stored, dict) and stored.get("plan") == plan.key:
        move = Move.from_json(stored.get("move"))
        if move is not None:
            return move
    return move_of_plan(study, plan.key, application, method)


def application_in_view(session: Session, applications: list[Application]) -> Application:
    """The one that was chosen, else one that there are scores of. Raises: UserError where there is none at all."""
    if not applications:
        raise UserError("This study has no application yet; add one on the Overview page.")
    found = next((one for one in applications if one.name == session.application), None)
    if found is None:
        scored = {entry["task"] for entry in session.study.score_index()}
        found = max(applications, key=lambda one: (one.name in scored, one.trained))  # the first of the best
        session.application = found.name
    return found
