"""The vocabulary's own control: rows kept, what they weigh, what they cover, and the list of tokens that go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from asc_core.compress.step import Step
from asc_core.compress.vocabulary import Vocabulary
from asc_core.errors import UserError
from asc_core.vocabulary import TokenScores
from asc_core.vocabulary.dropped_pieces import Changed, changed_examples
from dashboard.background.jobs import Job
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.state.session import Session, application_in_view
from dashboard.text.markup import escape
from dashboard.widgets.page import load, models

if TYPE_CHECKING:
    import pandas

MOST_LISTED = 5000
SET = ("rows", "share", "megabytes")  # one budget, which the slider sets
FLOAT32 = 4


def vocabulary_rows(session: Session, number: int, step: Step, change: Callable[[Step], None]) -> None:
    """change: puts another step in this one's place."""
    assert isinstance(step, Vocabulary)
    application = application_in_view(session, applications_of(session.study))
    scores = models().cached_token_scores(application, step.margin_texts)
    if scores is None:

        def count(job: Job) -> None:
            job.progress.step(0, 1, "counting tokens")
            models().token_scores(application, step.margin_texts)

        load(session, f"tokens|{application.name}|{step.margin_texts}", "Counting tokens", count, f"tokens-{number}")
        return
    try:
        kept = step.kept(scores)
    except UserError as error:
        st.html(f"<div class='asc-refused' role='alert'>{escape(str(error))}</div>")
        kept = sorted(scores.model.with_parts(scores.model.needed))
    _slider(session, number, step, scores, kept, change)
    st.html(f"<div class='asc-small'>{escape(_forecast(application, step, scores, kept))}</div>")
    if step.uses_general_order:
        st.html(f"<div class='asc-small asc-quiet'>{escape(scores.general.note)}</div>")
    if st.toggle("List of tokens", key=f"tune-step-{number}-tokens"):
        st.dataframe(listed(scores, kept), height=260, key=f"tune-step-{number}-list")


def _slider(
    session: Session,
    number: int,
    step: Vocabulary,
    scores: TokenScores,
    kept: list[int],
    change: Callable[[Step], None],
) -> None:
    version = session.widget_version
    budget = any(getattr(step, name) is not None for name in SET)
    key = f"tune-step-{number}-rows-kept.{version}.{'set' if budget else len(kept)}"
    fewest = len(scores.model.with_parts(scores.model.needed))

    def moved() -> None:
        if session.widget_version == version:
            change(step.model_copy(update=dict.fromkeys(SET) | {"rows": int(st.session_state[key])}))

    begun = st.session_state.setdefault(f"{key}.begun", min(max(step.rows or len(kept), fewest), scores.rows))
    if fewest < scores.rows:
        st.slider("Rows kept", fewest, scores.rows, begun, key=key, on_change=moved)
    if budget:
        st.button(
            "As many as are used",
            key=f"tune-step-{number}-rows-free.{version}",
            type="tertiary",
            on_click=change,
            args=(step.model_copy(update=dict.fromkeys(SET)),),
        )


def _forecast(application: Application, step: Vocabulary, scores: TokenScores, kept: list[int]) -> str:
    """What is known before anything is measured, in sentences."""
    here, whole = (FLOAT32 * scores.width * rows / 1e6 for rows in (len(kept), scores.rows))
    said = f"{len(kept):,} of {scores.rows:,} rows: {here:.1f} of {whole:.1f} MB of word embedding (float32)."
    if step.by == "effect":
        return f"{said} Which used tokens go is found when the step runs; this list is by count."
    changed = of_held_out(application, kept)
    if changed is None:
        return said
    count, total = int(changed.changed.sum()), len(changed.changed)
    return (
        f"{said} They are {100 * changed.coverage:.2f} % of the tokens of the {changed.split} texts; {count:,} of "
        f"{total:,} examples ({100 * changed.share:.1f} %) have a token that goes."
    )


def of_held_out(application: Application, kept: list[int]) -> Changed | None:
    """Which texts change, of the split that is measured on; None while the encoder is not loaded."""
    encoder, task = models().cached_encoder(application), models().task(application)
    if encoder is None:
        return None
    split = "validation" if "validation" in task.splits else task.splits[0]
    return changed_examples(encoder, kept, task, split)


def listed(scores: TokenScores, kept: list[int]) -> pandas.DataFrame:
    """Tokens that the tokenizer could do without: those that the texts use first, then by general frequency."""
    frame = scores.to_frame(kept, most=MOST_LISTED)
    return frame.drop(columns="needed")
