"""Scores say which texts they are of."""

from __future__ import annotations

from pathlib import Path

from asc_core.scores import sweep
from asc_core.scores.ablation import ablate
from asc_core.scores.data_fingerprint import is_current
from asc_core.scores.faithfulness import faithfulness_in_study
from asc_core.study import Study
from tests.evaluate.toy_tasks import encoder_for, toy_task

TASK, CORRECTED = (toy_task(train=40, validation=30, seed=seed) for seed in (0, 1))


def test_scores_of_texts_that_were_corrected_are_told_from_those_of_the_texts_that_are_there(tmp_path: Path) -> None:
    encoder, study = encoder_for(TASK), Study.open(tmp_path / "study")
    found = sweep(encoder, TASK, ["fisher", "obs", "magnitude"], samples=20, study=study)
    found |= ablate(encoder, TASK, parts=("heads",), samples=20, study=study)
    kept = study.scores()
    assert {scores.method for scores in kept} == set(found)
    for scores in kept:
        assert is_current(scores, TASK)
        assert is_current(scores, CORRECTED) == (scores.method == "magnitude")
    more = toy_task(train=41, validation=30)
    assert not is_current(found["fisher"], more), "another sample is drawn of more rows"


def test_new_scores_are_not_judged_by_the_ablation_of_old_texts(tmp_path: Path) -> None:
    encoder, study, fresh = encoder_for(TASK), Study.open(tmp_path / "study"), Study.open(tmp_path / "fresh")
    options = {"samples": 20, "held_out": 20, "curves": ()}
    reports = []
    for where, tasks in ((study, (TASK, CORRECTED)), (fresh, (CORRECTED,))):
        for task in tasks:
            sweep(encoder, task, ["fisher"], samples=20, study=where)
            report = faithfulness_in_study(encoder, task, where, **options)
        reports.append(report.to_json())
    assert reports[0] == reports[1]
