"""What the pages say of measurements is what benchmarks/results holds."""

from __future__ import annotations

import pytest

from asc_core.errors import UserError
from asc_core.marked_page import END
from benchmarks.report.markdown import interval, listed, points, table, wrapped
from benchmarks.report.pages import BEGIN, ROOT, pages, with_figures


@pytest.mark.parametrize("path", [ROOT / "docs/results.md", ROOT / "README.md"], ids=lambda path: path.name)
def test_a_page_is_current(path: object) -> None:
    (text,) = [text for file, text in pages().items() if file == path]
    assert path.read_text(encoding="utf-8") == text, "write it anew: make docs"  # type: ignore[attr-defined]


def test_a_figure_that_was_edited_by_hand_is_put_right() -> None:
    page = f"# Title\n{BEGIN}\n| 99.9 |\n{END}\nrest\n"
    made = with_figures(page)
    assert made.startswith(f"# Title\n{BEGIN}\n| what |")
    assert made.endswith(f"\n{END}\nrest\n")
    assert "99.9" not in made
    assert with_figures(made) == made


def test_a_readme_without_a_place_for_figures_is_refused() -> None:
    with pytest.raises(UserError, match="no place"):
        with_figures(f"# Title\n{END}\n{BEGIN[:-1]}")


def test_figures_are_rounded_to_one_decimal_without_a_minus_before_zero() -> None:
    assert [points(value) for value in (0.04, -0.04, 12.96, -1.26)] == ["0.0", "0.0", "13.0", "-1.3"]
    assert interval((-0.04, 2.345)) == "[0.0, 2.3]"


def test_words_are_listed_as_a_person_does() -> None:
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_paragraphs_are_wrapped_and_tables_are_not() -> None:
    made = wrapped("word " * 40 + "\n\n" + table(["name", "x" * 130], [["a", "b"]]))
    paragraph, rows = made.split("\n\n")
    assert max(map(len, paragraph.splitlines())) <= 120
    assert len(paragraph.split()) == 40
    assert rows.splitlines()[1] == "|---|---|"
    assert len(rows.splitlines()) == 3
