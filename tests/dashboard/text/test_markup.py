"""No name, message or file makes a page fetch an image or hold a live link."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dashboard.text.markup import bare

DASHBOARD = Path(__file__).parents[3] / "dashboard"
MARKDOWN = MarkdownIt("commonmark")
SHOWN_AS_MARKDOWN = {"error", "warning", "info", "success", "caption", "toast"}
LABELS = {"button", "popover", "selectbox", "text_input"}


def tags(text: str) -> set[str]:
    return {child.type for token in MARKDOWN.parse(text) for child in token.children or ()}


@pytest.mark.parametrize(
    "name",
    [
        "![x](http://evil.example/x.png)",
        "[x](http://evil.example)",
        "\\![x](http://evil.example)",
        "\\\\[x](http://evil.example)",
        "<http://evil.example>",
        "[x][y]\n\n[y]: http://evil.example",
        "![x][x]\n\n[x]: http://evil.example/x.png",
        "<img src=http://evil.example/x.png>",
    ],
)
def test_names_with_links_and_images_are_shown_as_they_are(name: str) -> None:
    assert tags(name) & {"image", "link_open", "html_inline"} or "<img" in name
    assert not tags(bare(name)) & {"image", "link_open", "html_inline"}


@given(st.text(alphabet="[]()<>!\\:/a w.\n"), st.text(alphabet="[]()<>!\\:/a w.\n"))
def test_whatever_is_said_holds_no_link(one: str, other: str) -> None:
    assert not tags(bare(f"{one}[x](http://e){other}")) & {"image", "link_open", "html_inline"}


@pytest.mark.parametrize(
    "text", ["91.2 % [90.1, 92.3] of 1,000", "model_x, layer 3: it's 5 > 4 (n = 7)", "data.tsv: no"]
)
def test_what_is_no_link_stays_as_it_is(text: str) -> None:
    assert bare(text) == text


def test_every_text_that_a_page_reads_as_markdown_is_made_bare() -> None:
    wrong = [
        f"{file.name}:{line}" for file in sorted(DASHBOARD.rglob("*.py")) for line in _live(ast.parse(file.read_text()))
    ]
    assert not wrong


def _live(tree: ast.AST) -> Iterator[int]:
    """Lines where something that is not written in the code itself is given to a widget that reads Markdown."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or not call.args:
            continue
        text, name = call.args[0], call.func.attr
        asked = isinstance(text, ast.JoinedStr) if name in LABELS else name in SHOWN_AS_MARKDOWN
        if asked and not isinstance(text, ast.Constant) and not _is_bare(text):
            yield call.lineno


def _is_bare(text: ast.expr) -> bool:
    return isinstance(text, ast.Call) and isinstance(text.func, ast.Name) and text.func.id == "bare"
