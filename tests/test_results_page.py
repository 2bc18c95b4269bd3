"""What the pages say of measurements is what benchmarks/results holds."""

from __future__ import annotations

import pytest

from asc_core.errors import UserError
from asc_core.marked_page import END
from benchmarks.quality import OURS
from benchmarks.report.cuts import _seeds_of
from benchmarks.report.markdown import interval, listed, points, table, wrapped
from benchmarks.report.pages import BEGIN, ROOT, pages, with_figures
from benchmarks.report.sample_sizes import _curve, _said


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


def point(texts: int, **lost: float) -> dict[str, object]:
    """Of a curve; ours over 3 seeds, what is beside it over one."""
    named = {OURS if method == "ours" else method: value for method, value in lost.items()}
    seeds = {method: 3 if method == OURS else 1 for method in named}
    return {"checkpoint": "minilm-sick", "kept": 0.5, "texts": texts, "lost": named, "seeds": seeds}


def test_the_curve_says_where_there_are_fewer_seeds_and_leaves_out_what_is_not_there() -> None:
    header, _, ours, kprune, kwon = _curve([point(64, ours=1, kprune=9), point(1024, ours=0.5)]).splitlines()
    assert header == "|  |  | 64 | 1,024 |"
    assert (ours, kprune) == ("| SICK | ours | 1.0 | 0.5 |", "| SICK | K-prune | 9.0 (1) |  |")
    assert kwon == "| SICK | Kwon |  |  |"


def test_how_many_texts_others_take_is_read_off_the_curve() -> None:
    said = _said([point(64, ours=1, kprune=9, kwon=8), point(128, ours=1, kprune=1, kwon=2)])
    assert said == (
        "On SICK ours loses 1.0 with 64 texts: K-prune takes 128 for as little and Kwon loses more with up to 128."
    )


def test_the_number_of_seeds_is_said_by_cell_where_it_differs() -> None:
    def cell(kept: float, seeds: int) -> dict[str, object]:
        return {"checkpoint": "minilm-sick", "kept": kept, "seeds": {"kprune": seeds}}

    assert _seeds_of([cell(0.5, 1), cell(0.3, 1)], "kprune") == "one seed"
    assert (
        _seeds_of([cell(0.5, 3), cell(0.3, 1), cell(0.2, 1)], "kprune") == "3 seeds in SICK at 50 %, one seed elsewhere"
    )
