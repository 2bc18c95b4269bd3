"""Tune's controls: each shows the current move and, when it is used, makes a new one.

The move is the truth and the widgets follow it. A browser reports the values of all its widgets with every message,
also old ones, after the server has changed them; that would undo an undo. So a widget whose value the server changes is
replaced by a new one: its key carries a generation, and what is said of an older generation is not listened to. The
container around it keeps a stable name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from asc_core.compress.repairs import REPAIRS
from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.values import Scores
from dashboard.charts.frontier import BUDGET_NAMES
from dashboard.state.applications import applications_of
from dashboard.state.cut_settings import LEVELS, RULES, Move, levels_of, smallest_keep, thresholds
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.method_names import title_of
from dashboard.widgets.page import escape

MULTIPLES = (1, 8, 16, 32, 64)
PERCENT = {"min_value": 0, "max_value": 100, "format": "%d %%"}


def controls(
    session: Session,
    scored: dict[str, Scores],
    cost_model: CostModel,
    repairable: bool,
    below: Callable[[], None] = lambda: None,
) -> None:
    """What the application is cut by: method, rule, and the rule's own controls; and how the cut is repaired.

    scored: method -> scores. below: draws what stands under the slider that counts most.
    """
    move = session.move
    assert move is not None
    scores = scored[move.method]
    left, right = st.columns(2)
    with left:
        application_choice(session, move)
    with right:
        control(
            st.selectbox,
            session,
            "tune-method",
            "method",
            move.method,
            label="Method",
            options=list(scored),
            format_func=title_of,
        )
    rules = {**RULES, **({"fixed": "Linked plan"} if move.rule == "fixed" else {})}
    if "blocks" not in levels_of(scores):
        rules.pop("share")
    control(
        st.segmented_control,
        session,
        "tune-rule",
        "rule",
        move.rule,
        label="Rule",
        options=list(rules),
        format_func=rules.__getitem__,
        required=True,
        label_visibility="collapsed",
        width="stretch",
    )
    if move.rule == "budget":
        _budget(session, move, scores, cost_model, below)
    else:
        {"threshold": _threshold, "share": _share, "fixed": _fixed}[move.rule](session, move, scores, cost_model)
        below()
    _repair(session, move, repairable)
    seen = f"{scores.split}, {scores.examples:,} examples" if scores.examples else "no data"
    text = f"scores: {scores.method}, {seen}, labels: {scores.labels}"
    st.html(f"<div class='asc-small asc-quiet'>{escape(text)}</div>")


def application_choice(session: Session, move: Move) -> None:
    def switch() -> None:
        if session.generation == generation:
            session.application = st.session_state[key]

    generation = session.generation
    key = f"tune-application.{generation}"
    st.session_state.setdefault(key, move.application)
    names = [application.name for application in applications_of(session.study) if application.trained]
    with st.container(key="tune-application"):
        st.selectbox(
            "Application", names, key=key, on_change=switch, format_func=lambda name: name.removeprefix("demo:")
        )


def control(
    widget: Callable[..., Any],
    session: Session,
    key: str,
    name: str,
    shown: Any,
    read: Callable[[Any], Any] = lambda value: value,
    **options: Any,
) -> None:
    """A widget for the field `name` of the move. shown: its value now; read: from the widget's value to the field's.

    Where the options change what values there may be, they must be part of the key.
    """
    generation = session.generation
    own_key = f"{key}.{generation}"

    def changed() -> None:
        if session.move is not None and session.generation == generation:
            session.go(replace(session.move, **{name: read(st.session_state[own_key])}), by_control=True)

    st.session_state.setdefault(own_key, shown)
    with st.container(key=key.partition(":")[0]):
        widget(key=own_key, on_change=changed, **options)


def _share_of_hundred(percent: int) -> float:
    return percent / 100


def _budget(session: Session, move: Move, scores: Scores, cost_model: CostModel, below: Callable[[], None]) -> None:
    kind, level = st.columns(2)
    with kind:
        control(
            st.selectbox,
            session,
            "tune-budget",
            "budget",
            move.budget,
            label="Budget",
            options=list(BUDGET_NAMES),
            format_func=BUDGET_NAMES.__getitem__,
        )
    with level:
        _level(session, move, scores)
    try:
        least = round(100 * smallest_keep(move, scores, cost_model))
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    if least >= 100:
        st.caption("Nothing can be cut: everything is kept by hand.")
        return
    control(
        st.slider,
        session,
        f"tune-keep:{least}",
        "keep",
        round(100 * move.keep),
        _share_of_hundred,
        label=f"{BUDGET_NAMES[move.budget]} kept",
        min_value=least,
        max_value=100,
        format="%d %%",
    )
    below()
    if move.level == "blocks" and scores.values.neurons is not None:
        heads, widths = st.columns(2)
        with heads:
            _minimum(session, move, scores)
        with widths:
            _multiple(session, move)
    else:
        _minimum(session, move, scores)


def _multiple(session: Session, move: Move) -> None:
    control(
        st.selectbox,
        session,
        "tune-multiple",
        "multiple",
        move.multiple,
        label="FFN widths",
        options=sorted({*MULTIPLES, move.multiple}),
        format_func=lambda multiple: "any" if multiple == 1 else f"multiples of {multiple}",
        help="Matrix products run fastest at round widths: at the same FLOPs, multiples of 16 or 32 take less time, "
        "most of all for single texts.",
    )


def _level(session: Session, move: Move, scores: Scores) -> None:
    control(
        st.selectbox,
        session,
        "tune-level",
        "level",
        move.level,
        label="Cut",
        options=levels_of(scores),
        format_func=LEVELS.__getitem__,
    )


def _minimum(session: Session, move: Move, scores: Scores) -> None:
    most = max(scores.shape.heads, default=0)
    if move.level == "blocks" and scores.values.heads is not None and most:
        control(
            st.slider,
            session,
            f"tune-min-heads:{most}",
            "min_heads",
            move.min_heads,
            label="Fewest heads a layer",
            min_value=0,
            max_value=most,
        )


def _repair(session: Session, move: Move, repairable: bool) -> None:
    """repairable: where it is not, "none" is shown and nothing can be chosen."""
    ours = [name for name, repair in REPAIRS.items() if repair.source is None]
    why_not = "Not possible here: a repair needs a train split, and layers that do not share their weights."
    control(
        st.segmented_control,
        session,
        "tune-repair",
        "repair",
        move.repair,
        label="Repair",
        options=list(dict.fromkeys(["none", *ours, move.repair])),
        required=True,
        width="stretch",
        disabled=not repairable,
        help="The parts that stay take over what the removed ones did, in closed form, no training. One-shot is "
        "fastest; sequential goes from the first layer to the last on what the cut model itself delivers: better, "
        "and takes seconds."
        if repairable
        else why_not,
    )


def _threshold(session: Session, move: Move, scores: Scores, cost_model: CostModel) -> None:
    _level(session, move, scores)
    if scores.similarity is not None and move.level == "layers":
        control(
            st.slider,
            session,
            "tune-similarity",
            "similarity",
            max(move.similarity, 0.5),
            label="A layer goes at similarity",
            min_value=0.5,
            max_value=1.01,
            step=0.005,
            format="%.3f",
        )
        return
    for kind, limit in thresholds(move, scores).items():
        name = f"below_{kind}"
        control(
            st.slider,
            session,
            f"tune-below-{kind}",
            name,
            round(100 * getattr(move, name)),
            _share_of_hundred,
            label=f"{kind.capitalize()} go below {numbers.score(limit)}, the lowest",
            **PERCENT,
        )
    _minimum(session, move, scores)


def _share(session: Session, move: Move, scores: Scores, cost_model: CostModel) -> None:
    for kind in ("heads", "neurons"):
        if getattr(scores.values, kind) is not None:
            name = f"keep_{kind}"
            value = round(100 * getattr(move, name))
            label = f"{kind.capitalize()} kept"
            control(st.slider, session, f"tune-keep-{kind}", name, value, _share_of_hundred, label=label, **PERCENT)
    label = "the best anywhere, not of each layer"
    control(st.toggle, session, "tune-everywhere", "everywhere", move.everywhere, label=label)
    _minimum(session, move, scores)


def _fixed(session: Session, move: Move, scores: Scores, cost_model: CostModel) -> None:
    plan = session.study.plan(move.plan_key or "")
    rule = plan.provenance.rule if plan is not None else None
    st.caption(f"A plan from a link or a pin{': ' + rule if rule else ''}. Click cells to change it, or choose a rule.")
    if plan is not None and plan.provenance.weights not in (None, scores.weights):
        label = "use it on these weights"
        control(st.toggle, session, "tune-transfer", "transfer", move.transfer, label=label)
