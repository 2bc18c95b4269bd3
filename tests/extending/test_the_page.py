"""docs/extending.md followed to the letter in a copy of the engine: its files where it says, a line in each list."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "asc_core/scores/loudness.py",
    "asc_core/compress/quieten.py",
    "asc_core/modeling/relu.py",
    "asc_core/compress/relu.py",
    "asc_core/export/formats/bag.py",
    "asc_core/export/answer/with_numpy.py",
)
LISTS = {  # file -> what is found there, and what comes in its place
    "asc_core/scores/methods.py": (
        (r"^from asc_core.scores.method import", "from asc_core.scores import loudness\n\\g<0>"),
        (r"^MODULES = \(", "\\g<0>loudness, "),
    ),
    "asc_core/recipes/registry.py": (
        (
            r"^from asc_core.compress.step import",
            "from asc_core.compress.quieten import Quieten\nfrom asc_core.compress.relu import ToRelu\n\\g<0>",
        ),
        (r"for step in \(", "\\g<0>Quieten, ToRelu, "),
    ),
    "asc_core/modeling/record.py": (
        (r"^from \.share import", "from .relu import Relu\n\\g<0>"),
        (r"for structure in \(", "\\g<0>Relu(), "),
    ),
    "asc_core/modeling/compact.py": ((r"^from \.share import", "from .relu import Relu\n\\g<0>"),),
    "asc_core/export/formats/__init__.py": (
        (
            r"^from asc_core.export.formats.compact import",
            "from asc_core.export.answer import script\nfrom asc_core.export.formats.bag import BagOfWords\n\\g<0>",
        ),
        (r"for format in \(", '\\g<0>BagOfWords(script("with_numpy.py")), '),
    ),
}
TRIAL = """
import sys
import asc_core
from asc_core.recipes import Recipe
from tests.scores.toy import ToyTask
from tests.tiny import tiny

encoder, task, folder = tiny(), ToyTask(8), sys.argv[1]
scores = asc_core.score(encoder, task, ["loudness"])["loudness"]
plan = asc_core.by_budget(scores, asc_core.task_cost_model(encoder, task), 0.7)
steps = [{"step": "cut", "plan": plan.to_json()}, {"step": "quieten", "times": 0.5}, {"step": "relu"}]
recipe = Recipe.from_json({"format": "asc-recipe/1", "steps": steps})
made = recipe.apply(encoder)
report = asc_core.export(made, folder + "/compact", recipe=recipe)
assert "relu.py" in report.files, report.files
assert asc_core.load_encoder(folder + "/compact").blueprint == made.blueprint
assert "bag.safetensors" in asc_core.export(made, folder + "/bag", "bag").files
"""


@pytest.mark.slow
def test_what_the_page_says_is_all_that_is_needed(tmp_path: Path) -> None:
    for top in ("asc_core", "tests"):
        shutil.copytree(ROOT / top, tmp_path / top, ignore=shutil.ignore_patterns("__pycache__", "data", "adapters"))
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    for file, example in zip(FILES, examples, strict=False):
        assert f"`{file}`" in page
        (tmp_path / file).write_text(example, encoding="utf-8")
    for file, changes in LISTS.items():
        text = (tmp_path / file).read_text(encoding="utf-8")
        for pattern, new in changes:
            text, times = re.subn(pattern, new, text, count=1, flags=re.MULTILINE)
            assert times, f"{file} has no {pattern}"
        (tmp_path / file).write_text(text, encoding="utf-8")
    (tmp_path / "trial.py").write_text(TRIAL, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "trial.py", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
