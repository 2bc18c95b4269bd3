from __future__ import annotations

from dataclasses import replace

import pytest

from asc_core.study import Study
from asc_core.values import Plan
from dashboard.state import applications, session
from dashboard.state.cut_settings import CutSettings
from dashboard.state.pins import keep_settings
from dashboard.state.session import Session, address, begin
from tests.dashboard.synthetic import SHAPE

SETTINGS = CutSettings("words", "fisher")


@pytest.fixture
def window(study: Study) -> Session:
    applications.add(study, "somewhere", "words.toml", "words")
    return begin({})


def test_undo_and_redo_walk_the_history_and_new_settings_end_what_was_undone(window: Session) -> None:
    several = [replace(SETTINGS, keep=keep) for keep in (0.9, 0.8, 0.7)]
    for settings in several:
        window.go(settings)
    window.undo()
    window.undo()
    assert (window.settings, window.can_undo, window.can_redo) == (several[0], False, True)
    window.undo()
    assert window.settings == several[0]
    window.redo()
    window.go(replace(SETTINGS, keep=0.5, method="update"))
    assert [settings.keep for settings in window.history] == [0.9, 0.8, 0.5]
    assert (window.method, window.can_redo) == ("update", False)


def test_the_same_settings_again_are_no_new_ones(window: Session) -> None:
    window.go(SETTINGS)
    window.go(replace(SETTINGS))
    assert len(window.history) == 1


def test_a_long_history_forgets_its_beginning(window: Session) -> None:
    for step in range(session.LONGEST_HISTORY + 10):
        window.go(replace(SETTINGS, keep=step / 1000))
    assert len(window.history) == session.LONGEST_HISTORY
    assert window.settings == window.history[-1]


def test_an_address_brings_the_view_back(window: Session) -> None:
    plan = Plan.full(SHAPE).drop(0, head=0)
    settings = replace(SETTINGS, keep=0.55)
    keep_settings(window.study, plan, settings)
    window.go(settings)
    window.plan_key = plan.key
    again = begin(address(window))
    assert (again.settings, again.application, again.method, again.plan_key) == (settings, "words", "fisher", plan.key)
    assert not again.messages


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


def test_widgets_are_made_anew_when_the_settings_change_without_them(window: Session) -> None:
    """A polling fragment may send a widget's old value once more; it must not undo an undo."""
    window.go(SETTINGS)
    widget_version = window.widget_version
    window.go(replace(SETTINGS, keep=0.5), by_control=True)
    assert window.widget_version == widget_version
    for change in (window.undo, window.redo, lambda: window.jump(0), lambda: window.go(replace(SETTINGS, keep=0.7))):
        change()
        assert window.widget_version > widget_version
        widget_version = window.widget_version


def test_settings_that_no_page_can_be_drawn_with_are_taken_back(study: Study) -> None:
    window = begin({})
    assert not window.take_back(), "there is nothing to take back"
    good = CutSettings("words", "fisher")
    window.go(good)
    window.drew()
    window.go(replace(good, keep=0.5))
    window.go(replace(good, rule=None))  # type: ignore[arg-type]
    version = window.widget_version
    assert window.take_back()
    assert window.settings == good
    assert window.widget_version > version
    assert not window.take_back(), "what fails with good settings is not their fault"

    broken = begin({})
    broken.go(replace(good, rule=None))  # type: ignore[arg-type]
    assert broken.take_back()
    assert broken.settings is None, "Tune starts anew"
