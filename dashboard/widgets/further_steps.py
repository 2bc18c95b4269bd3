"""Tune's further steps: added, set, moved and removed; each form is made from the fields of the step's class.

As in `cut_controls`, the settings are the truth and the keys of widgets carry a version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st
from pydantic import ValidationError

from asc_core.compress.step import Step
from asc_core.errors import UserError
from dashboard.state.cut_settings import CutSettings
from dashboard.state.further_steps import MOST_STEPS, added, checked, moved, offered
from dashboard.state.session import Session
from dashboard.state.step_parameters import FINEST, Parameter, initial, parameters, words
from dashboard.text.markup import bare, escape
from dashboard.widgets.vocabulary_rows import SET, vocabulary_rows

REFUSED = "tune-steps-refused"
MOST_ON_A_SLIDER = 1000
WIDTH_OF_OFFERS = 470
Change = Callable[[Step], None]
# kind of step -> what stands in its form beside plain inputs, and the parameters that it sets instead of these
OWN_CONTROLS: dict[str, tuple[Callable[[Session, int, Step, Change], None], tuple[str, ...]]] = {
    "vocabulary": (vocabulary_rows, SET)
}


def further_steps(session: Session, settings: CutSettings) -> None:
    """One line a step; a click on it opens its form."""
    with st.container(key="tune-steps", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.html("<span class='asc-label'>Further steps</span>", width="stretch")
            with (
                st.popover(
                    "Add", icon=":material/add:", type="tertiary", key=f"tune-step-add.{session.widget_version}"
                ),
                st.container(width=WIDTH_OF_OFFERS),
            ):
                _offers(session, settings)
        for number, step in enumerate(settings.then):
            _line(session, settings, number, step)
        refused = st.session_state.get(REFUSED)
        if refused is not None and refused[0] == settings:
            st.html(f"<div class='asc-refused' role='alert'>{escape(refused[1])}</div>")


def _offers(session: Session, settings: CutSettings) -> None:
    """The kinds of step, each with the sentence that its class begins with."""
    if len(settings.then) >= MOST_STEPS:
        st.caption(bare(f"At most {MOST_STEPS} further steps fit here; a recipe file takes any number of them."))
        return
    st.html("<div class='asc-small asc-quiet'>Done after the cut and its repair, in this order.</div>")
    for kind, step in offered().items():
        name, said = st.columns([3, 7], vertical_alignment="center")
        name.button(
            words(kind),
            key=f"tune-step-new-{kind}.{session.widget_version}",
            on_click=_change,
            args=(session, partial(added, step=step(**initial(step)))),
            width="stretch",
        )
        slow = " Trains, so it is begun with a button." if step.trains else ""
        said.html(f"<div class='asc-small asc-quiet'>{escape(about(step))}{slow}</div>")


def _line(session: Session, settings: CutSettings, number: int, step: Step) -> None:
    version, last = session.widget_version, len(settings.then) - 1
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key=f"tune-step-line-{number}"):
        said = step.describe()
        with st.popover(bare(f"{number + 2} · {said}"), key=f"tune-step-{number}.{version}", width="stretch"):
            st.html(f"<b>{words(step.kind)}</b><div class='asc-small asc-quiet'>{escape(about(type(step)))}</div>")
            _form(session, number, step)
            with st.container(horizontal=True, gap="small"):
                for name, icon, to in (("up", "arrow_upward", number - 1), ("down", "arrow_downward", number + 1)):
                    st.button(
                        bare(f"Move {name}"),
                        key=f"tune-step-{name}-{number}.{version}",
                        icon=f":material/{icon}:",
                        type="tertiary",
                        disabled=not 0 <= to <= last,
                        on_click=_change,
                        args=(session, partial(moved, number=number, to=to)),
                    )
        st.button(
            "",
            key=f"tune-step-remove-{number}.{version}",
            icon=":material/close:",
            type="tertiary",
            help="Remove this step",
            on_click=_change,
            args=(session, lambda then: checked([*then[:number], *then[number + 1 :]])),
        )


def _form(session: Session, number: int, step: Step) -> None:
    """The step's own parameters; what it shares with others is folded away."""
    control, set_by_it = OWN_CONTROLS.get(step.kind, (None, ()))
    if control is not None:
        control(session, number, step, lambda new: _change(session, partial(_replaced, number=number, new=new), True))
    every = [one for one in parameters(type(step)) if one.name not in set_by_it]
    own, shared = [one for one in every if one.own], [one for one in every if not one.own]
    _inputs(session, number, step, own or shared)
    if own and shared:
        with st.expander("More", key=f"tune-step-more-{number}.{session.widget_version}"):
            _inputs(session, number, step, shared)


def _inputs(session: Session, number: int, step: Step, shown: Sequence[Parameter]) -> None:
    columns = st.columns(2 if len(shown) > 1 else 1)
    for place, parameter in enumerate(shown):
        with columns[place % len(columns)]:
            _input(session, number, parameter, getattr(step, parameter.name))


def _input(session: Session, number: int, parameter: Parameter, value: Any) -> None:
    version = session.widget_version
    key = f"tune-step-{number}-{parameter.name}.{version}"

    def changed() -> None:
        if session.widget_version == version:
            _change(session, partial(_with, number=number, name=parameter.name, value=st.session_state[key]), True)

    # A popover draws its widgets only when it is opened, and then by their defaults: what they begin with must be one.
    begun = st.session_state.setdefault(f"{key}.begun", value)
    shared: dict[str, Any] = {"key": key, "on_change": changed, "help": parameter.about or None}
    if parameter.kind == "switch":
        st.toggle(parameter.title, begun, **shared)
    elif parameter.kind == "choice":
        options = [*([None] if parameter.optional else []), *parameter.choices]
        st.selectbox(parameter.title, options, options.index(begun), _choice, **shared)
    elif parameter.kind == "text":
        st.text_input(parameter.title, begun, **shared)
    else:
        _number(parameter, begun, shared)


def _choice(one: Any) -> str:
    return "not set" if one is None else f"{one}"


def _number(parameter: Parameter, begun: Any, shared: dict[str, Any]) -> None:
    low, high, whole = parameter.low, parameter.high, parameter.kind == "whole"
    if low is not None and high is not None and not parameter.optional and high - low <= MOST_ON_A_SLIDER:
        if whole:
            st.slider(parameter.title, int(low), int(high), begun, **shared)
        else:
            st.slider(parameter.title, low, high, begun, FINEST, **shared)
    elif whole:
        least = None if low is None else int(low)
        st.number_input(parameter.title, least, value=begun, step=1, placeholder="not set", **shared)
    else:
        st.number_input(parameter.title, value=begun, format="%g", placeholder="not set", **shared)


def _with(then: Sequence[Step], number: int, name: str, value: Any) -> tuple[Step, ...]:
    """The steps with one parameter of one of them changed. Raises: UserError where the step refuses it."""
    step = then[number]
    try:
        new = type(step).model_validate({**step.model_dump(), name: value})
    except ValidationError as error:
        raise UserError(f"{words(step.kind)}, {name.replace('_', ' ')}: {error.errors()[0]['msg']}.") from None
    return _replaced(then, number, new)


def _replaced(then: Sequence[Step], number: int, new: Step) -> tuple[Step, ...]:
    """The steps with another one in the place of one of them. Raises: UserError where the order makes no sense."""
    return checked([*then[:number], new, *then[number + 1 :]])


def _change(session: Session, change: Callable[[Sequence[Step]], tuple[Step, ...]], by_control: bool = False) -> None:
    """What is refused is said beside the steps, for as long as nothing else is changed."""
    settings = session.settings
    if settings is None:
        return
    try:
        session.go(replace(settings, then=change(settings.then)), by_control)
    except UserError as error:
        st.session_state[REFUSED] = (settings, str(error))
        session.widget_version += 1  # or the widget goes on showing what was refused


def about(step: type[Step]) -> str:
    """The first sentence of its class."""
    text = " ".join((step.__doc__ or "").split())
    return text.split(". ")[0].rstrip(".") + "." if text else ""
