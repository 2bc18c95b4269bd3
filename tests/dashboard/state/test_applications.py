from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dashboard.applications
from asc_core.errors import UserError
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.state import applications, kept, stored_scores


def test_an_encoder_stands_on_a_task_once(study: Study) -> None:
    applications.add(study, "a", "b", "words")
    with pytest.raises(UserError, match="it is the application words"):
        applications.add(study, "a", "b", "words")


def test_a_damaged_list_of_applications_is_said(study: Study) -> None:
    for stored in ([{"name": "x"}], ["x"], 3):
        study.set("applications", stored)
        with pytest.raises(UserError, match="damaged"):
            applications.applications_of(study)


@pytest.mark.parametrize(
    ("encoders", "names"),
    [
        (["models/small", "models/large"], ["words", "words · large"]),
        (["one/best", "two/best", "three/best"], ["words", "words · two/best", "words · three/best"]),
        (["/x/best", "best"], ["words", "words · best (2)"]),
        (["org/mini", "demo:mini", "other/mini|x"], ["words", "words · demo/mini", "words · mini_x"]),
    ],
)
def test_encoders_on_one_task_are_named_by_what_tells_them_apart(
    study: Study, encoders: list[str], names: list[str]
) -> None:
    added = [applications.add(study, encoder, "words.toml", "words") for encoder in encoders]
    assert [one.name for one in added] == names
    assert {one.task_name for one in added} == {"words"}
    assert applications.applications_of(study) == added


def test_another_task_of_a_taken_name_is_refused(study: Study, task_file: Path) -> None:
    applications.add(study, "a", str(task_file), "words")
    with pytest.raises(UserError, match="another name"):
        applications.add(study, "b", "elsewhere/words.toml", "words")
    same = task_file.parent / ".." / task_file.parent.name / task_file.name
    assert applications.add(study, "b", str(same), "words").name == "words · b"


def test_an_embedded_applications_title_is_taken_too(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = applications.Application("demo:nli", "demo:nli", "demo:nli", embedded=True)
    monkeypatch.setattr(applications, "_embedded", lambda: [embedded])
    assert applications.add(study, "my/model", "nli.toml", "nli").title == "nli · model"
    assert applications.add(study, "my/model", "demo:nli", "demo:nli").title == "nli · my/model"


def test_applications_of_an_earlier_study_have_their_tasks_name(study: Study) -> None:
    study.set("applications", [{"name": "words", "encoder": "a", "task": "words.toml"}])
    (found,) = applications.applications_of(study)
    assert found.task_name == "words"
    assert applications.add(study, "b", "words.toml", "words").name == "words · b"


def test_scores_are_those_of_the_applications_own_encoder(scored: Study, scores: list[Scores], task_file: Path) -> None:
    second = applications.add(scored, "elsewhere/second", str(task_file), "words")
    first, _ = applications.applications_of(scored)
    assert stored_scores.scored(scored, [first, second]) == {"words"}, "before it was ever loaded"
    kept.weights(scored, second).set("other weights")
    index = scored.score_index()
    assert len(stored_scores.entries_of(scored, index, first)) == len(scores)
    assert stored_scores.entries_of(scored, index, second) == []


def test_a_plan_without_settings_belongs_to_the_encoder_that_it_was_made_for(
    scored: Study, scores: list[Scores], task_file: Path
) -> None:
    from asc_core.plan import by_share

    second = applications.add(scored, "elsewhere/second", str(task_file), "words")
    kept.weights(scored, second).set("other weights")
    known = applications.applications_of(scored)
    plan = by_share(scores[0], 0.5)
    assert applications.of_plan(scored, known, plan, "words") == known[0]
    kept.weights(scored, second).set(plan.provenance.weights)
    kept.weights(scored, known[0]).set("no longer these")
    assert applications.of_plan(scored, known, plan, "words") == second


def test_the_old_place_of_add_still_works(study: Study) -> None:
    assert dashboard.applications.add(study, "a", "b", "words").name == "words"


def add_ten(path: Path, name: str) -> None:
    study = Study.open(path)
    for number in range(10):
        applications.add(study, f"{name}/model-{number}", f"{name}-{number}.toml", f"{name}-{number}")


def test_applications_that_two_processes_add_at_once_are_all_kept(study: Study) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add_ten, args=(study.path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    names = [one.name for one in kept.added(study)]
    assert sorted(names) == sorted(f"{name}-{number}" for name in ("a", "b") for number in range(10))


def test_an_application_that_another_window_adds_meanwhile_is_neither_lost_nor_doubled(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Study.change

    def late(self: Study, key: str, how: Callable[[Any], Any]) -> None:
        monkeypatch.setattr(Study, "change", change)
        applications.add(study, "theirs", "words.toml", "words")  # between the look and the write
        change(self, key, how)

    monkeypatch.setattr(Study, "change", late)
    applications.add(study, "mine", "words.toml", "words")
    assert [one.encoder for one in kept.added(study)] == ["theirs", "mine"]
    monkeypatch.setattr(Study, "change", late)
    with pytest.raises(UserError, match="it is the application words"):
        applications.add(study, "theirs", "words.toml", "words")
