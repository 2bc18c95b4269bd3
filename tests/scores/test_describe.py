from __future__ import annotations

import re
from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.marked_page import END
from asc_core.scores import METHODS
from asc_core.scores.describe import BEGIN, described, rewritten

PAGE = Path(__file__).parents[2] / "docs" / "scores.md"


def test_the_page_of_scores_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rewritten(page) == page, f"make it anew: python -m asc_core.scores.describe {PAGE}"


def test_every_method_has_a_row_and_a_text_without_loose_ends() -> None:
    lines = described().splitlines()
    for name, method in METHODS.items():
        (row,) = [line for line in lines if line.startswith(f"| `{name}` |")]
        assert row.count("|") == 7, "no text may hold a bar"
        (text,) = [line for line in lines if line.startswith(f"- `{name}`: ")]
        assert method.description in text
        for number in re.findall(r"\d{4}\.\d{5}", method.source):
            assert f"](https://arxiv.org/abs/{number})" in row


def test_only_what_is_generated_is_written_anew() -> None:
    page = f"# Mine\n\n{BEGIN}\nstale line\n{END}\nafter"
    made = rewritten(page)
    assert made.startswith("# Mine\n")
    assert made.endswith(f"{END}\nafter")
    assert "stale line" not in made
    assert rewritten(made) == made
    with pytest.raises(UserError, match="no place"):
        rewritten("# Mine")
