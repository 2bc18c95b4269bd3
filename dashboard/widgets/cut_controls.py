"""Tune's controls: each shows the current settings and, when it is used, makes new ones.

The settings are the truth and the widgets follow them. A browser reports the values of all its widgets with every
message, also old ones, after the server has changed them; that would undo an undo. So a widget whose value the server
changes is replaced by a new one: its key carries a version, and what is said of an older one is not listened to. The
container around it keeps a stable name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from asc_core.compress.repairs import REPAIRS
from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.runtimes import RUNTIMES, installed
from asc_core.values import Scores, Shape
from dashboard.state.applications import applications_of
from dashboard.state.cut_settings import LEVELS, RULES, CutSettings, levels_of, repairs_of, smallest_keep, thresholds
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import bare, escape
from dashboard.text.method_names import title_of
from dashboard.text.names import BUDGET_NAMES
from dashboard.widgets.further_steps import further_steps

MULTIPLES = (1, 8, 16, 32, 64)
PERCENT = {"min_value": 0, "max_value": 100, "format": "%d %%"}


def controls(
    session: Session,
    scored: dict[str, Scores],
    cost_model: CostModel,
    repairable: bool,
    below: Callable[[], None] = lambda: None,
) -> None:
    """What the application is cut by: method, rule, and the rule's own controls; its repair, and what follows.

    scored: method -> scores. below: draws what stands under the slider that counts most.
    """
    settings = session.settings
    assert settings is not None
    scores = scored[settings.method]
    left, right = st.columns(2)
    with left:
        application_choice(session, settings)
    with right:
        control(
            st.selectbox,
            session,
            "tune-method",
            "method",
            settings.method,
            label="Method",
            options=list(scored),
            format_func=title_of,
        )
    rules = {**RULES, **({"fixed": "Linked plan"} if settings.rule == "fixed" else {})}
    if "blocks" not in levels_of(scores):
        rules.pop("share")
    control(
        st.segmented_control,
        session,
        "tune-rule",
        "rule",
        settings.rule,
        label="Rule",
        options=list(rules),
        format_func=rules.__getitem__,
        required=True,
        label_visibility="collapsed",
        width="stretch",
    )
    if settings.rule == "budget":
        _budget(session, settings, scores, cost_model, below)
    else:
        {"threshold": _threshold, "share": _share, "fixed": _fixed}[settings.rule](
            session, settings, scores, cost_model
        )
        below()
    _repair(session, settings, cost_model.shape, repairable)
    further_steps(session, settings)
    seen = f"{scores.split}, {scores.examples:,} examples" if scores.examples else "data-free"
    text = f"scores: {scores.method}, {seen}, labels: {scores.labels}"
    st.html(f"<div class='asc-small asc-quiet'>{escape(text)}</div>")


def application_choice(session: Session, settings: CutSettings) -> None:
    def switch() -> None:
        if session.widget_version == widget_version and st.session_state.get(key) in names:
            session.application = st.session_state[key]

    widget_version = session.widget_version
    key = f"tune-application.{widget_version}"
    st.session_state.setdefault(key, settings.application)
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
    """A widget for the settings' field `name`. shown: its value now; read: from the widget's value to the field's.

    Where the options change what values there may be, they must be part of the key.
    """
    widget_version = session.widget_version
    own_key = f"{key}.{widget_version}"

    def changed() -> None:
        if session.settings is None or session.widget_version != widget_version:
            return
        said = st.session_state.get(own_key)
        if not _is_own(said, shown, options):  # of a run that was broken off: the widget is made anew
            session.widget_version += 1
            return
        session.go(replace(session.settings, **{name: read(said)}), by_control=True)

    st.session_state.setdefault(own_key, shown)
    with st.container(key=key.partition(":")[0]):
        widget(key=own_key, on_change=changed, **options)


def _is_own(said: Any, shown: Any, options: Mapping[str, Any]) -> bool:
    """Whether a widget can have been set to what is said of it."""
    if "options" in options:
        return said in options["options"]
    if said is None or isinstance(said, bool) or isinstance(shown, bool):
        return (said is None and shown is None) or (isinstance(said, bool) and isinstance(shown, bool))
    if isinstance(said, str) or isinstance(shown, str):
        return isinstance(said, str) and isinstance(shown, str)
    if not isinstance(said, int | float) or not math.isfinite(said):
        return False
    low, high = options.get("min_value"), options.get("max_value")
    return (low is None or said >= low) and (high is None or said <= high)


def _share_of_hundred(percent: int) -> float:
    return percent / 100


def _budget(
    session: Session, settings: CutSettings, scores: Scores, cost_model: CostModel, below: Callable[[], None]
) -> None:
    kind, *where, level = st.columns(3 if settings.budget == "latency" else 2)
    for column in where:
        with column:
            _runtime(session, settings)
    with kind:
        control(
            st.selectbox,
            session,
            "tune-budget",
            "budget",
            settings.budget,
            label="Budget",
            options=list(BUDGET_NAMES),
            format_func=BUDGET_NAMES.__getitem__,
        )
    with level:
        _level(session, settings, scores)
    try:
        least = round(100 * smallest_keep(settings, scores, cost_model))
    except UserError as error:
        st.error(bare(str(error)), icon=":material/error:")
        return
    if least >= 100:
        st.caption("Nothing can be cut: manual edits keep everything.")
        return
    control(
        st.slider,
        session,
        f"tune-keep:{least}",
        "keep",
        round(100 * settings.keep),
        _share_of_hundred,
        label=f"{BUDGET_NAMES[settings.budget]} kept",
        min_value=least,
        max_value=100,
        format="%d %%",
    )
    below()
    if settings.level == "blocks" and scores.values.neurons is not None:
        heads, widths = st.columns(2)
        with heads:
            _minimum(session, settings, scores)
        with widths:
            _multiple(session, settings)
    else:
        _minimum(session, settings, scores)


def _runtime(session: Session, settings: CutSettings) -> None:
    """Those that can run here, and the one that settings from elsewhere name."""
    control(
        st.selectbox,
        session,
        "tune-runtime",
        "runtime",
        settings.runtime,
        label="Runtime",
        options=list(dict.fromkeys([*installed(), settings.runtime])),
        format_func=lambda name: RUNTIMES[name].title if name in RUNTIMES else name,
        help="What runs the model: the budget is a share of the original's time there. Of graph runtimes a few widths "
        "are exported and timed first, which takes about a minute.",
    )


def _multiple(session: Session, settings: CutSettings) -> None:
    control(
        st.selectbox,
        session,
        "tune-multiple",
        "multiple",
        settings.multiple,
        label="Round FFN width to",
        options=sorted({*MULTIPLES, settings.multiple}),
        format_func=lambda multiple: "any" if multiple == 1 else f"{multiple}",
        help="Matrix products run fastest at round widths: at the same FLOPs, multiples of 16 or 32 are faster, "
        "most of all for single texts.",
    )


def _level(session: Session, settings: CutSettings, scores: Scores) -> None:
    control(
        st.selectbox,
        session,
        "tune-level",
        "level",
        settings.level,
        label="Cut",
        options=levels_of(scores),
        format_func=LEVELS.__getitem__,
    )


def _minimum(session: Session, settings: CutSettings, scores: Scores) -> None:
    most = max(scores.shape.heads, default=0)
    if settings.level == "blocks" and scores.values.heads is not None and most:
        control(
            st.slider,
            session,
            f"tune-min-heads:{most}",
            "min_heads",
            settings.min_heads,
            label="Min. heads per layer",
            min_value=0,
            max_value=most,
        )


def _repair(session: Session, settings: CutSettings, shape: Shape, repairable: bool) -> None:
    """repairable: where it is not, "none" is shown and nothing can be chosen."""
    ours = [name for name in repairs_of(shape) if name == "none" or REPAIRS[name].source is None]
    why_not = "Not possible here: a repair needs a train split."
    control(
        st.segmented_control,
        session,
        "tune-repair",
        "repair",
        settings.repair,
        label="Repair",
        options=list(dict.fromkeys([*ours, settings.repair])),
        required=True,
        width="stretch",
        disabled=not repairable,
        help="The remaining weights are re-fitted (least squares) to reproduce the original's outputs; no training. "
        "One-shot is fastest; sequential goes from the first layer to the last on the activations of the cut model "
        "itself: better, and takes seconds. Where layers share their weights each is fitted to all of its layers."
        if repairable
        else why_not,
    )


def _threshold(session: Session, settings: CutSettings, scores: Scores, cost_model: CostModel) -> None:
    _level(session, settings, scores)
    if scores.similarity is not None and settings.level == "layers":
        control(
            st.slider,
            session,
            "tune-similarity",
            "similarity",
            max(settings.similarity, 0.5),
            label="Remove layers with similarity ≥",
            min_value=0.5,
            max_value=1.01,
            step=0.005,
            format="%.3f",
        )
        return
    for kind, limit in thresholds(settings, scores).items():
        name = f"below_{kind}"
        control(
            st.slider,
            session,
            f"tune-below-{kind}",
            name,
            round(100 * getattr(settings, name)),
            _share_of_hundred,
            label=f"Remove {kind} scoring below {numbers.score(limit)} (lowest)",
            **PERCENT,
        )
    _minimum(session, settings, scores)


def _share(session: Session, settings: CutSettings, scores: Scores, cost_model: CostModel) -> None:
    for kind in ("heads", "neurons"):
        if getattr(scores.values, kind) is not None:
            name = f"keep_{kind}"
            value = round(100 * getattr(settings, name))
            label = f"{kind.capitalize()} kept"
            control(st.slider, session, f"tune-keep-{kind}", name, value, _share_of_hundred, label=label, **PERCENT)
    label = "Rank globally"
    control(st.toggle, session, "tune-everywhere", "everywhere", settings.everywhere, label=label)
    _minimum(session, settings, scores)


def _fixed(session: Session, settings: CutSettings, scores: Scores, cost_model: CostModel) -> None:
    plan = session.study.plan(settings.plan_key or "")
    rule = plan.provenance.rule if plan is not None else None
    st.caption(
        bare(f"A plan from a link or a pin{': ' + rule if rule else ''}. Click cells to change it, or choose a rule.")
    )
    if plan is not None and plan.provenance.weights not in (None, scores.weights):
        label = "Use it on these weights"
        control(st.toggle, session, "tune-transfer", "transfer", settings.transfer, label=label)
