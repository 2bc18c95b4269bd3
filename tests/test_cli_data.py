"""`asc task`, `asc check` and `asc scores`, from a CSV file to the numbers of every head."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.study import Study
from asc_core.values import PartValues, Scores
from tests.test_cli import run, write_rows
from tests.tiny import save_checkpoint, tiny

LABELS = ["negative", "positive"]


def said(*arguments: object, exit_code: int = 0) -> str:
    """What a verb says to people."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.stdout if not exit_code else result.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    save_checkpoint(tiny(labels=LABELS, num_labels=2), folder / "model")
    for split, count in (("train", 90), ("test", 40)):
        write_rows(folder / f"{split}.tsv", count, seed=count)
    run("task", folder / "train.tsv", "-o", folder / "mood.toml")
    task = ("--task", folder / "mood.toml")
    methods = ("-m", "fisher", "-m", "asc-b", "--samples", 32)
    run("score", folder / "model", *task, *methods, "--study", folder / "study")
    return folder


def test_a_task_file_is_written_said_and_never_overwritten_unasked(project: Path, tmp_path: Path) -> None:
    text = said("task", project / "train.tsv", "-o", tmp_path / "t.toml", "--label-name", "negative=bad",
                "--label-name", "positive=good")  # fmt: skip
    assert "The label is 'mood'." in text
    assert "train 81, validation 9, test 40" in text
    assert (tmp_path / "t.toml").read_text().startswith("# It is text-classification")
    assert run("check", tmp_path / "t.toml")["splits"][2]["labels"].keys() == {"bad", "good"}
    assert "is there already" in run("task", project / "train.tsv", "-o", tmp_path / "t.toml", exit_code=2)
    alone = run("task", project / "train.tsv", "-o", tmp_path / "t.toml", "--overwrite", "--alone", "--kind",
                "text-classification", "--text", "text", "--unlabelled")  # fmt: skip
    assert alone["rows"] == {"train": 81, "validation": 9}
    assert "label" not in alone["content"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text", "nope"), "no column 'nope'"),
        (("--label-name", "bad"), "VALUE=NAME"),
        (("--label", "mood", "--unlabelled"), "either --label or --unlabelled"),
        (("--kind", "regression"), "', not a number; correct it"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_anything_is_written(
    options: tuple[str, ...], message: str, project: Path, tmp_path: Path
) -> None:
    got = run("task", project / "train.tsv", "-o", tmp_path / "t.toml", *options, exit_code=2)
    assert message in got
    assert not (tmp_path / "t.toml").exists()


def test_a_check_counts_and_matches(project: Path) -> None:
    found = run("check", project / "mood.toml", project / "model")
    assert found["matches"] == {"negative": "negative", "positive": "positive"}
    assert [one["examples"] for one in found["splits"]] == [81, 9, 40]
    assert found["splits"][0]["tokens"]["truncated"] == 0
    text = said("check", project / "mood.toml", project / "model")
    assert "train: 81 examples" in text
    assert "negative = negative" in text


def test_a_check_that_finds_a_problem_says_everything_else_and_ends_with_2(project: Path, tmp_path: Path) -> None:
    save_checkpoint(tiny(labels=["x", "y"], num_labels=2), tmp_path / "other")
    result = CliRunner().invoke(app, ["check", str(project / "mood.toml"), str(tmp_path / "other"), "--json"])
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["splits"][0]["examples"] == 81
    assert "do not match" in found["problems"][0]
    assert "do not match" in result.stderr.splitlines()[-1]


def test_scores_as_json_are_those_of_the_study(project: Path) -> None:
    (one,) = run("scores", project / "study", "--task", project / "mood.toml", "--method", "fisher")["scores"]
    stored = Study.open(project / "study").scores(method="fisher")[0]
    assert (one["task"], one["method"], one["examples"], one["notes"]) == ("mood", "fisher", 32, stored.notes)
    assert one["parts"] == json.loads(json.dumps(stored.rows()))
    assert {"kind", "layer", "index", "score", "low", "high"} == set(one["parts"][0])
    (heads,) = run("scores", project / "study", "--task", "mood", "-m", "fisher", "--kind", "heads")["scores"]
    assert heads["parts"] == [part for part in one["parts"] if part["kind"] == "heads"]
    assert len(heads["parts"]) == 12


def test_scores_as_csv(project: Path, tmp_path: Path) -> None:
    found = run("scores", project / "study", "--kind", "layers", "--csv", tmp_path / "s.csv")
    assert {one["method"] for one in found["scores"]} == {"fisher", "asc-b"}
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [float(row["score"]) for row in rows] == [part["score"] for one in found["scores"] for part in one["parts"]]
    assert {row["kind"] for row in rows} == {"layers"}
    piped = said("scores", project / "study", "-m", "fisher", "--kind", "neurons", "--csv", "-").splitlines()
    assert len(piped) == 1 + 60
    assert piped[0].startswith("task,method,weights,")


def test_scores_for_people_are_short(project: Path) -> None:
    text = said("scores", project / "study", "-m", "fisher")
    assert "fisher on mood: 32 train examples, labels: gold" in text
    assert "heads, a line a layer" in text
    assert len(text.splitlines()) < 30


def test_numbers_that_json_does_not_have_are_null(tmp_path: Path) -> None:
    shape = tiny().shape
    values = PartValues(layers=np.array([1.0, np.nan, np.inf]))
    Study.open(tmp_path).save_scores(Scores("m", values, shape, "w", "t", "train", 4))
    assert [part["score"] for part in run("scores", tmp_path)["scores"][0]["parts"]] == [1.0, None, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--task", "other"), "has no scores of other; it has mood: asc-b; mood: fisher"),
        (("-m", "obs"), "has no scores of obs; it has mood: asc-b; mood: fisher"),
        (("--task", "none.toml"), "no task file none.toml"),
        (("-m", "asc-b", "--kind", "heads"), "asc-b says nothing about heads: there are scores of layers"),
        (("--csv", "-"), "both write to standard output"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(options: tuple[Any, ...], message: str, project: Path) -> None:
    assert message in run("scores", project / "study", *options, exit_code=2)


def test_a_study_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "There is no study at" in run("scores", tmp_path / "none", exit_code=2)
    assert not (tmp_path / "none").exists()
