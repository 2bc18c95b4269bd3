from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asc_core.errors import UserError
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.state import applications, session
from dashboard.state.cut_settings import Move
from dashboard.state.session import Session, address, begin, keep_move, move_of_plan
from dashboard.widgets import cut_controls
from dashboard.widgets.cut_controls import control
from tests.dashboard.synthetic import SHAPE

MOVE = Move("words", "fisher")


@pytest.fixture
def window(study: Study) -> Session:
    applications.add(study, "somewhere", "words.toml", "words")
    return begin({})


def test_undo_and_redo_walk_the_history_and_a_new_move_ends_what_was_undone(window: Session) -> None:
    moves = [replace(MOVE, keep=keep) for keep in (0.9, 0.8, 0.7)]
    for move in moves:
        window.go(move)
    window.undo()
    window.undo()
    assert (window.move, window.can_undo, window.can_redo) == (moves[0], False, True)
    window.undo()
    assert window.move == moves[0]
    window.redo()
    window.go(replace(MOVE, keep=0.5, method="update"))
    assert [move.keep for move in window.history] == [0.9, 0.8, 0.5]
    assert (window.method, window.can_redo) == ("update", False)


def test_the_same_move_again_is_no_new_move(window: Session) -> None:
    window.go(MOVE)
    window.go(replace(MOVE))
    assert len(window.history) == 1


def test_a_long_history_forgets_its_beginning(window: Session) -> None:
    for step in range(session.MOST_MOVES + 10):
        window.go(replace(MOVE, keep=step / 1000))
    assert len(window.history) == session.MOST_MOVES
    assert window.move == window.history[-1]


def test_an_address_brings_the_view_back(window: Session) -> None:
    plan = Plan.full(SHAPE).drop(0, head=0)
    move = replace(MOVE, keep=0.55)
    keep_move(window.study, plan, move)
    window.go(move)
    window.plan_key = plan.key
    again = begin(address(window))
    assert (again.move, again.application, again.method, again.plan_key) == (move, "words", "fisher", plan.key)
    assert not again.messages


def test_a_plan_from_elsewhere_becomes_a_fixed_move(window: Session) -> None:
    plan = Plan.full(SHAPE).drop(1, head=2)
    window.study.save_plan(plan)
    move = move_of_plan(window.study, plan.key, "words", "fisher")
    assert move == Move("words", "fisher", rule="fixed", plan_key=plan.key, repair="none")
    assert move_of_plan(window.study, "unknown", "words", "fisher") is None


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "new", ".."])
def test_an_address_cannot_open_or_make_other_folders(window: Session, name: str) -> None:
    opened = begin({"study": name})
    assert opened.folder == session.home_folder()
    assert any("There is no study" in message for message in opened.messages)
    assert not (opened.folder.parent / name).exists() or name.startswith(("..", "/"))


def test_a_study_beside_the_opened_one_can_be_linked_to(window: Session) -> None:
    other = Study.open(window.folder.parent / "other")
    assert begin({"study": "other"}).study.path.resolve() == other.path.resolve()


@pytest.mark.parametrize("query", [{"task": "nothing"}, {"plan": "nothing", "task": "words"}])
def test_what_an_address_asks_for_in_vain_is_said(window: Session, query: dict[str, str]) -> None:
    assert begin(query).messages


def test_two_windows_have_sessions_of_their_own(study: Study) -> None:
    first, second = ({}, {})
    assert session.current(first, {}) is session.current(first, {})
    assert session.current(first, {}) is not session.current(second, {})


def test_a_name_is_taken_once(study: Study, tmp_path: Path) -> None:
    applications.add(study, "a", "b", "words")
    with pytest.raises(UserError, match="already an application words"):
        applications.add(study, "a", "b", "words")


def test_a_damaged_list_of_applications_is_said(study: Study) -> None:
    study.set(applications.SETTING, [{"name": "x"}])
    with pytest.raises(UserError, match="damaged"):
        applications.applications_of(study)


def test_widgets_are_made_anew_when_the_move_changes_without_them(window: Session) -> None:
    """A polling fragment may send a widget's old value once more; it must not undo an undo."""
    window.go(MOVE)
    generation = window.generation
    window.go(replace(MOVE, keep=0.5), by_control=True)
    assert window.generation == generation
    for change in (window.undo, window.redo, lambda: window.jump(0), lambda: window.go(replace(MOVE, keep=0.7))):
        change()
        assert window.generation > generation
        generation = window.generation


def test_what_a_browser_says_of_an_older_widget_is_not_listened_to(
    window: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.widgets.cut_controls.st.session_state", {})
    drawn: list[dict[str, Any]] = []

    def draw() -> None:
        assert window.move is not None
        control(lambda **options: drawn.append(options), window, "tune-keep", "keep", window.move.keep)

    def use(widget: dict[str, Any], value: float) -> None:
        cut_controls.st.session_state[widget["key"]] = value
        widget["on_change"]()

    window.go(MOVE)
    draw()
    use(drawn[0], 0.5)
    draw()
    window.undo()
    draw()
    assert drawn[0]["key"] == drawn[1]["key"] != drawn[2]["key"]
    use(drawn[1], 0.5)
    assert window.move == MOVE
    use(drawn[2], 0.4)
    assert window.move == replace(MOVE, keep=0.4)


def test_a_plan_that_suits_two_applications_opens_the_one_that_was_asked_for(window: Session) -> None:
    plan = Plan.full(SHAPE).drop(0)
    mine, other = replace(MOVE, keep=0.55), replace(MOVE, application="other", method="asc-b", keep=0.7)
    for move in (mine, other):
        keep_move(window.study, plan, move)
    assert move_of_plan(window.study, plan.key, mine.application, "fisher") == mine
    assert move_of_plan(window.study, plan.key, "other", "asc-b") == other
    assert move_of_plan(window.study, plan.key, "", "") == other, "the latest"
    third = move_of_plan(window.study, plan.key, "third", "fisher")
    assert third is not None
    assert (third.application, third.rule) == ("third", "fixed")
