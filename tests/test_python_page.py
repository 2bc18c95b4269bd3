"""The examples of docs/python.md, in their order, as a reader would type them."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from tests.test_docs import ROOT, blocks
from tests.tiny import tiny


def test_the_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tiny(labels=["negative", "positive"], num_labels=2)
    names: dict[str, object] = {"model": own.model, "tokenizer": own.tokenizer}
    examples = list(blocks(ROOT / "docs" / "python.md", "python"))
    assert len(examples) == 4
    for _, file, text in examples:
        assert file == "tests/test_python_page.py"
        exec(compile(text, "docs/python.md", "exec"), names)
    assert isinstance(names["strongest"], pandas.DataFrame)
    assert len(names["strongest"]) == 3
    assert repr(names["estimate"]).startswith("Estimate(accuracy ")
    assert repr(names["agreement"]).startswith("Estimate(kappa ")


@pytest.mark.parametrize("value", ["Scores", "Plan", "Estimate", "Study"])
def test_the_table_names_the_columns_that_there_are(value: str, tmp_path: Path) -> None:
    from asc_core.study import Study
    from asc_core.values import Plan
    from tests.test_frames import SHAPE, estimate, scores

    study = Study.open(tmp_path)
    study.save_evaluation("w", "k", "t", "test", estimate())
    frames = {
        "Scores": scores().to_frame(),
        "Plan": Plan.full(SHAPE).to_frame(),
        "Estimate": estimate().to_frame(),
        "Study": study.to_frame(),
    }
    page = (ROOT / "docs" / "python.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{value}.to_frame(")]
    said = {word.strip() for word in line.split("|")[3].split("(")[0].split(",")}
    if value == "Study":
        said |= set(estimate().row())
    assert set(frames[value].columns) <= said
