"""The pages hold what they promise: links lead somewhere, commands and examples are those that work."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from asc_core.cli import app
from asc_core.recipes import Recipe
from asc_core.recipes import describe as recipes
from asc_core.recipes.presets import PresetOptions, preset_recipe
from tests.test_imports import ORDER

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTENDING = ROOT / "docs" / "extending.md"
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
BLOCK = re.compile(r"(?:<!-- (tested in|quoted from) (\S+) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> Iterator[tuple[str, str, str]]:
    """(how it is tied to a file, the file, the text) of each code block in a language."""
    for how, file, found, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if found == language:
            yield how, file, text


def anchors(page: Path) -> set[str]:
    """As a renderer makes them of headings: lower case, spaces to dashes, other signs gone."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}: {sorted(anchors(file))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_a_table_has_as_many_cells_as_its_header(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        cells = {re.sub(r"\\\||`[^`]*`", "", row).count("|") for row in table.splitlines()}
        assert len(cells) == 1, f"{page.name}: {table[:200]}"
        assert re.fullmatch(r"(\|---)+\|", table.splitlines()[1]), f"{page.name}: {table[:200]}"


def commands(page: Path) -> list[list[str]]:
    lines = "".join(text for _, _, text in blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_verbs_options_targets_and_modules_that_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in commands(page):
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
        elif words[:1] == ["asc"]:
            verb = VERBS[words[1]]
            verb.make_context(words[1], words[2:])  # parses, runs nothing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"python -m ((?:asc_core|benchmarks)[\w.]*)", text):
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name
    made = {"NAME", "loudness", "quieten", "relu", "bag", "with_numpy"}  # by whoever follows the page on extending
    for name in re.findall(r"`((?:asc_core|dashboard|tests|benchmarks|docs)/[\w/.]*)`", text):
        if not any(word in name for word in made):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def nodes(source: str) -> set[str]:
    """Top-level statements; of an assigned text that is code itself, its statements too."""
    found = set()
    for node in ast.parse(source).body:
        found.add(ast.dump(node))
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name} as {alias.asname}" for alias in node.names}
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            try:
                found |= nodes(node.value.value)
            except SyntaxError:
                continue
    return found


def missing(example: str, tested: str) -> list[str]:
    """Statements of an example, imports of siblings aside, that a file does not have."""
    have = nodes(tested)
    wrong = []
    for node in ast.parse(example).body:
        if isinstance(node, ast.ImportFrom):
            if not node.level:
                wrong += [a.name for a in node.names if f"{node.module}.{a.name} as {a.asname}" not in have]
        elif ast.dump(node) not in have and not isinstance(node, ast.Import):
            wrong.append(ast.unparse(node))
    return wrong


def test_examples_of_extending_are_the_code_that_is_tested() -> None:
    tied = list(blocks(EXTENDING, "python"))
    assert len(tied) == 8
    for how, file, text in tied:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert how, "an example that nothing tests"
        if how == "quoted from":
            assert text.rstrip("\n") in source, file
        else:
            assert missing(text, source) == [], file


def test_an_example_that_was_changed_is_noticed() -> None:
    tested = "import a\nfrom b import c\nX = 'def f():\\n    return 1'\ndef g():\n    return 2\n"
    assert missing("from b import c\ndef f():\n    return 1\n\ndef g():\n    return 2\n", tested) == []
    assert missing("def g():\n    return 3\n", tested) == ["def g():\n    return 3"]
    assert missing("from b import d\n", tested) == ["d"]


def test_the_tables_of_recipes_are_current() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert recipes.rewritten(page) == page, "write it anew: make docs"


def test_the_recipe_on_its_page_is_the_ready_made_one() -> None:
    ((_, _, text),) = blocks(ROOT / "docs" / "recipes.md", "json")
    ready_made = preset_recipe("asc-plus", PresetOptions(keep=0.5, steps=200), task="demo:nli")
    assert Recipe.from_json(json.loads(text)) == ready_made


def source_map() -> list[tuple[list[str], list[str]]]:
    """(patterns of sources, tests) of each row of the map in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| source | test |")[2]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]+)`", sources), re.findall(r"`([^`]+)`", tests)) for sources, tests in rows]


def mirrored(source: Path) -> Path:
    """The test of a source's name."""
    top, *folders, name = source.relative_to(ROOT).parts
    return ROOT.joinpath("tests", *(["dashboard"] if top == "dashboard" else []), *folders, f"test_{name}")


def test_every_source_file_has_a_test_of_its_name_or_a_row_in_the_map() -> None:
    rows = source_map()
    assert rows
    mapped = {path for patterns, _ in rows for pattern in patterns for path in ROOT.glob(pattern)}
    files = [path for top in ("asc_core", "dashboard") for path in (ROOT / top).rglob("*.py")]
    ordinary = [path for path in files if not path.name.startswith("__")]
    lost = [path for path in ordinary if path not in mapped and not mirrored(path).exists()]
    assert not lost, f"say in CONTRIBUTING.md where these are tested: {[str(p.relative_to(ROOT)) for p in lost]}"


def test_every_file_of_the_map_exists() -> None:
    for patterns, tests in source_map():
        assert all(list(ROOT.glob(pattern)) for pattern in patterns), patterns
        assert tests
        assert all((ROOT / test).is_file() for test in tests), tests


def test_the_order_of_imports_on_the_page_is_the_one_that_is_checked() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = "\n".join(", ".join(sorted(units)) for units in ORDER)
    assert f"```\n{lines}\n```" in page
