"""`asc ticket` as a user walks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from tests.test_cli import LABELS, run, write_rows
from tests.tiny import save_checkpoint, tiny

pytestmark = pytest.mark.slow

QUICK: tuple[Any, ...] = ("--rounds", 1, "--rate", 0.4, "--epochs", 1, "--lr", 0.01, "--batch-size", 16)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    save_checkpoint(tiny(), folder / "encoder")
    for split, count in (("train", 40), ("validation", 24)):
        write_rows(folder / f"{split}.tsv", count, seed=count)
    (folder / "mood.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "mood"\n\n'
        '[data]\ntrain = "train.tsv"\nvalidation = "validation.tsv"\n'
    )
    return folder


def test_a_run_says_its_curve_and_its_folder_can_be_compared_with(project: Path, tmp_path: Path) -> None:
    asked = ("ticket", project / "encoder", "--task", project / "mood.toml", *QUICK)
    found = run(*asked, "-o", tmp_path / "a", "--control", "random", "--dense-seeds", 2)
    (entry,) = found["rounds"]
    assert entry["sparsity"] == pytest.approx(0.4, abs=1e-3)
    assert set(entry) == {"round", "sparsity", "ticket", "random"}
    assert set(found["dense"]["values"]) == {"0", "1"}
    assert json.loads((tmp_path / "a" / "report.json").read_text())["rounds"] == found["rounds"]
    other = run(
        *asked, "-o", tmp_path / "b", "--control", "none", "--dense-seeds", 1, "--seed", 0, "--against", tmp_path / "a"
    )
    assert other["matching"] is None
    assert other["overlap"][0]["jaccard"] == 1  # the same search
    assert other["overlap"][0]["chance"] < 0.6
    assert set(other["rounds"][0]) == {"round", "sparsity", "ticket"}
    said = CliRunner().invoke(app, [*map(str, asked), "-o", str(tmp_path / "a"), "--control", "random"]).stdout
    assert "whole model:" in said
    assert "40.0 % gone: ticket" in said
    assert LABELS


def test_tickets_of_parts(project: Path, tmp_path: Path) -> None:
    found = run(
        "ticket", project / "encoder", "--task", project / "mood.toml", *QUICK, "--parts", "-m", "magnitude",
        "-o", tmp_path / "p", "--control", "reinitialised", "--dense-seeds", 1,
    )  # fmt: skip
    assert found["kind"] == "parts"
    assert found["rounds"][0]["sparsity"] >= 0.4


def test_what_cannot_be_is_one_sentence(project: Path, tmp_path: Path) -> None:
    asked = ("ticket", project / "encoder", "--task", project / "mood.toml", *QUICK)
    said = run(*asked, "-o", tmp_path / "c", "--parts", "--control", "untrained", exit_code=2)
    assert "have the controls random, reinitialised, shuffled, not 'untrained'" in said
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("x")
    assert "holds no tickets" in run(*asked, "-o", tmp_path / "full", exit_code=2)
