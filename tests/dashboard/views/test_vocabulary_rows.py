"""Tune's vocabulary step: rows on a slider, what they cover before measuring, what changed texts lose after it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from asc_core.compress.vocabulary import Vocabulary
from asc_core.study import Study
from tests.dashboard.conftest import html_of, settled
from tests.dashboard.views.windows import Open, control, session_of

pytestmark = pytest.mark.slow


def step_of(app: AppTest) -> Vocabulary:
    settings = session_of(app).settings
    assert settings is not None
    (step,) = settings.then
    assert isinstance(step, Vocabulary)
    return step


def test_rows_are_set_on_a_slider_and_what_they_cost_is_said_before_and_after(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    control(app.button, "tune-step-new-vocabulary").click()
    app = settled(app.run())
    assert not app.exception
    text = html_of(app)
    assert "MB of word embedding (float32)" in text
    assert "100.00 % of the tokens of the validation texts; 0 of 150 examples (0.0 %) have a token that goes." in text
    assert "Assumed:" not in text, "the general order decides nothing here"
    slider = control(app.slider, "tune-step-0-rows-kept")
    fewest, used = int(slider.min), slider.value
    slider.set_value(fewest + 3)
    app = settled(app.run())
    assert not app.exception
    assert step_of(app).rows == fewest + 3 < used
    text = html_of(app)
    assert f"{fewest + 3} of 64 rows" in text
    assert "Assumed: the tokenizer's own order is that of general frequency." in text.replace("&#x27;", "'")
    assert "examples (0.0 %) have a token that goes" not in text
    assert "On the " in text
    assert " examples with a dropped token: accuracy" in text
    control(app.toggle, "tune-step-0-tokens").set_value(True)
    app = settled(app.run())
    (table,) = [one.value for one in app.dataframe if "stays" in one.value]
    assert list(table.columns) == ["token", "stays", "train", "validation", "general_rank", "pieces"]
    assert int(table["stays"].sum()) == 3
    assert table["train"].tolist()[:3] == sorted(table["train"], reverse=True)[:3]
    control(app.button, "tune-step-0-rows-free").click()
    app = settled(app.run())
    assert step_of(app) == Vocabulary()
    assert control(app.slider, "tune-step-0-rows-kept").value == used


def test_a_general_text_that_is_not_there_is_said_in_a_sentence(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    control(app.button, "tune-step-new-vocabulary").click()
    app = settled(app.run())
    control(app.text_input, "tune-step-0-margin_texts").set_value("/no/such/file.txt")
    app = settled(app.run())
    assert not app.exception
    assert any("There is no text file" in error.value for error in app.error)
