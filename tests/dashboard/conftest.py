"""A study with an application of its own, small enough that every page answers in a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asc_core.scores import sweep
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.background.jobs import Jobs
from dashboard.panels import score_form
from dashboard.panels import work_ahead as panels_ahead
from dashboard.state import applications, kept, session
from dashboard.state.loaded import LoadedModels
from dashboard.widgets import page
from tests.dashboard.steps import toy_steps  # noqa: F401
from tests.tiny import save_checkpoint, tiny

APP = Path(__file__).resolve().parents[2] / "dashboard" / "app.py"
LABELS = ["animal", "place", "film"]
TEXTS = {
    "animal": ["the cat sat on the mat", "a big dog ran under the tree", "the small cat ran", "a red dog sat"],
    "place": ["the river flows from paris to rome", "where is the city", "what city is in rome", "the river is big"],
    "film": ["a great film", "the film is not dull", "a bad dull film", "play music in the film"],
}
METHODS = ["fisher", "update", "asc-b"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 3 layers with 4 heads, with a head for three classes."""
    return save_checkpoint(tiny("bert", labels=LABELS), tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("task"), "words")


def write_task(folder: Path, name: str) -> Path:
    """A task file with 48 train, 150 validation and 24 test rows. 150 examples give estimates at 64 and at the end."""
    for split, rows in (("train", 48), ("validation", 150), ("test", 24)):
        lines = ["text\tlabel"]
        for row in range(rows):
            label = LABELS[row % 3]
            lines.append(f"{TEXTS[label][row // 3 % 4]} {'. ' * (row % 5)}\t{label}")
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    path = folder / f"{name}.toml"
    path.write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "label"\n[data]\n'
        'train = "train.tsv"\nvalidation = "validation.tsv"\ntest = "test.tsv"\n'
    )
    return path


@pytest.fixture(autouse=True)
def nothing_ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests marked `ahead` measure what nobody has asked for."""
    if request.node.get_closest_marker("ahead") is None:
        monkeypatch.setattr(panels_ahead, "work_ahead", lambda *_: None)
        monkeypatch.setattr(score_form, "prepare", lambda *_: None)


@pytest.fixture
def no_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the embedded applications, whose encoder is too large for fast tests."""
    monkeypatch.setattr("asc_core.demo.applications", list)


@pytest.fixture(scope="session")
def shared_models() -> LoadedModels:
    """Encoders and tasks stay loaded from test to test."""
    return LoadedModels()


@pytest.fixture
def study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_demo: None, shared_models: LoadedModels
) -> Iterator[Study]:
    """An empty study that the pages open; the process's jobs are new."""
    monkeypatch.setenv(session.FOLDER_VARIABLE, str(tmp_path / "studies" / "mine"))
    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.setattr(page, "LoadedModels", lambda: shared_models)
    yield Study.open(tmp_path / "studies" / "mine")
    page.all_jobs().shutdown()
    st.cache_resource.clear()


@pytest.fixture
def added(study: Study, checkpoint: Path, task_file: Path) -> applications.Application:
    return applications.add(study, str(checkpoint), str(task_file), "words")


@pytest.fixture(scope="session")
def scores(checkpoint: Path, task_file: Path, shared_models: LoadedModels) -> list[Scores]:
    application = applications.Application("words", str(checkpoint), str(task_file))
    encoder, task = shared_models.encoder(application), shared_models.task(application)
    return list(sweep(encoder, task, METHODS, samples=32).values())


@pytest.fixture
def scored(study: Study, added: applications.Application, scores: list[Scores]) -> Study:
    """The study after scoring."""
    kept.weights(study, added).set(scores[0].weights)
    for one in scores:
        study.save_scores(one)
    return study


@pytest.fixture
def open_page() -> Callable[..., AppTest]:
    """A browser window at a page, drawn until no work of it is left."""

    def open_at(view: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=60)
        app.query_params.update(query)
        app.run()
        if view != "overview":
            app.switch_page(f"views/{view}.py").run()
        return settled(app)

    return open_at


def settled(app: AppTest, rounds: int = 20) -> AppTest:
    """Draw until this window has no work left and has seen the end of it, as its own polling would."""
    for _ in range(rounds):
        running = jobs_of(app)
        for job in running:
            assert job.wait(60), job.title
        known = len(all_of(app))
        app.run()
        if not running and len(all_of(app)) == known:  # nothing ended or began while the page was drawn
            return app
    raise AssertionError(f"still working: {[job.title for job in jobs_of(app)]}")


def jobs_of(app: AppTest) -> list:
    return [job for job in all_of(app) if not job._finished.is_set()]


def all_of(app: AppTest) -> list:
    jobs: Jobs = page.all_jobs()
    return jobs.of(app.session_state[session.KEY].id)


def html_of(app: AppTest) -> str:
    """Everything that is written on the page as HTML or text."""
    kinds = ("html", "markdown", "caption", "error", "info", "success", "warning", "code")
    found = []
    for kind in kinds:
        for element in app.get(kind):
            found.append(str(getattr(element, "value", "") or getattr(element.proto, "body", "")))
    return "\n".join(found)
