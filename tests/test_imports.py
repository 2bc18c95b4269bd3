"""Imports go one way, so that a part of the engine can be read, tested and shipped without what stands on it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each line may import what is in a line above it and what is in its own unit, nothing else.
ORDER = [
    {"errors", "atomic_file", "batches", "parts", "seals"},
    {
        "atomic_folder",
        "json_files",
        "machine_memory",
        "marked_page",
        "memory",
        "passwords",
        "size_in_memory",
        "stored_arrays",
    },
    {"bounded_cache", "progress", "values", "migrations", "sentences"},
    {"ancestry"},
    {"tasks", "study"},
    {"modeling"},
    {"probes"},
    {"encoder"},
    {"checkpoint", "same_weights"},
    {"doctor", "loading"},
    {"gates", "plan"},
    {"runtimes"},
    {"scores"},
    {"evaluate"},
    {"vocabulary"},
    {"compress"},
    {"train"},
    {"demo"},
    {"export"},
    {"recipes"},
    {"arguments"},
    {"__init__"},
    {"cli"},
    {"__main__"},
    {"dashboard"},
    {"dashboard.text"},
    {"dashboard.state"},
    {"dashboard.applications", "dashboard.tables", "dashboard.background"},
    {"dashboard.measuring"},
    {"dashboard.charts"},
    {"dashboard.widgets"},
    {"dashboard.panels"},
    {"dashboard.views"},
    {"dashboard.app", "dashboard.doors"},
    {"dashboard.serve"},
]
LEVEL = {unit: level for level, units in enumerate(ORDER) for unit in units}

FILES = sorted([*ROOT.glob("asc_core/**/*.py"), *ROOT.glob("dashboard/**/*.py")])
BENCHMARKS = sorted(ROOT.glob("benchmarks/**/*.py"))


def unit_of(module: str) -> str:
    """The unit that a dotted name belongs to: asc_core.scores.sweep -> scores, asc_core -> __init__.

    Of the dashboard it is the room: dashboard.charts.cut -> dashboard.charts.
    """
    names = module.split(".")
    if names[0] == "dashboard":
        return ".".join(names[:2])
    return names[1] if len(names) > 1 else "__init__"


def module_of(file: Path) -> str:
    names = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of every import, type-checking blocks left out."""

    def walk(node: ast.AST) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, child.lineno
            elif isinstance(child, ast.ImportFrom):
                for name in imported_from(child, file):
                    yield name, child.lineno
            else:
                yield from walk(child)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")))


def imported_from(node: ast.ImportFrom, file: Path) -> list[str]:
    """`from asc_core import plan` imports the module asc_core.plan, `from asc_core.plan import cost` a part of it."""
    module = node.module or ""
    if node.level:
        package = module_of(file).split(".")
        package = package if file.name == "__init__.py" else package[:-1]
        module = ".".join([*package[: len(package) - node.level + 1], *filter(None, [module])])
    if module not in ("asc_core", "dashboard"):
        return [module]
    named = [f"{module}.{alias.name}" for alias in node.names]
    return [name if unit_of(name) in LEVEL else module for name in named]


def wrong_imports(file: Path) -> list[str]:
    importer = unit_of(module_of(file))
    wrong = []
    for name, line in imports(file):
        if name.split(".")[0] not in ("asc_core", "dashboard"):
            continue
        imported = unit_of(name)
        below = LEVEL.get(imported, len(ORDER)) < LEVEL[importer]
        if imported != importer and not below:
            wrong.append(f"line {line}: {importer} imports {name}")
    return wrong


def test_every_file_has_a_place_in_the_order() -> None:
    units = {unit_of(module_of(file)) for file in FILES}
    assert units <= LEVEL.keys(), f"say in ORDER where these stand: {sorted(units - LEVEL.keys())}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    if unit_of(module_of(file)) in LEVEL:
        assert wrong_imports(file) == []


@pytest.mark.parametrize("file", sorted((ROOT / "asc_core" / "modeling").glob("*.py")), ids=lambda file: file.name)
def test_files_that_ship_in_exports_need_torch_and_transformers_alone(file: Path) -> None:
    needed = {name for name, _ in imports(file) if unit_of(name) != "modeling"}
    assert {name.split(".")[0] for name in needed} <= sys.stdlib_module_names | {"torch", "transformers"}


@pytest.mark.parametrize(
    ("path", "source", "accepted"),
    [
        ("asc_core/scores/sweep.py", "from asc_core.encoder import Encoder", True),
        ("asc_core/scores/sweep.py", "from asc_core.scores.representation import update", True),
        ("asc_core/scores/sweep.py", "from asc_core import gates", True),
        ("asc_core/scores/sweep.py", "from asc_core.study import Study", True),
        ("asc_core/scores/sweep.py", "from asc_core.recipes import Recipe", False),
        ("asc_core/scores/sweep.py", "from asc_core import recipes", False),
        ("asc_core/scores/sweep.py", "from ..recipes import Recipe", False),
        ("asc_core/scores/sweep.py", "import asc_core", False),
        ("asc_core/scores/sweep.py", "def f():\n    from dashboard.state.session import x", False),
        ("asc_core/tasks/base.py", "from asc_core.encoder import Encoder", False),
        ("asc_core/tasks/presets.py", "from asc_core.demo import tasks", False),
        ("asc_core/tasks/presets.py", "def f():\n    from asc_core.demo import tasks", False),
        ("dashboard/app.py", "import asc_core", True),
        ("dashboard/panels/trust.py", "from dashboard.widgets.page import load", True),
        ("dashboard/panels/trust.py", "from dashboard.panels import across", True),
        ("dashboard/panels/trust.py", "from dashboard import views", False),
        ("dashboard/charts/cut.py", "from dashboard.widgets.theme import colours", False),
        ("dashboard/state/session.py", "import dashboard.measuring.measurements", False),
    ],
)
def test_the_check_itself_tells_right_from_wrong(
    path: str, source: str, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert (wrong_imports(file) == []) is accepted


# Circles


def modules_imported(file: Path, modules: Mapping[str, Path]) -> set[str]:
    """What a file imports when it is itself imported, and what it names for annotations alone; no late imports."""
    found = set()
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        late = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.walk(statement) if not late else ():
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    found.add(submodule if submodule in modules else str(node.module))
    return (found & modules.keys()) - {module_of(file)}


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """A way through the graph that comes back to where it began; empty where there is none."""
    done: set[str] = set()

    def search(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph[module]):
            circle = search(other, [*way, module])
            if circle:
                return circle
        done.add(module)
        return []

    return next(filter(None, (search(module, []) for module in sorted(graph))), [])


def test_no_imports_go_in_a_circle() -> None:
    modules = {module_of(file): file for file in [*FILES, *BENCHMARKS]}
    assert circle_in({name: modules_imported(file, modules) for name, file in modules.items()}) == []


@pytest.mark.parametrize(
    ("graph", "circle"),
    [
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, ["a", "b", "c", "a"]),
    ],
)
def test_the_search_finds_a_circle_where_there_is_one(graph: dict[str, set[str]], circle: list[str]) -> None:
    assert circle_in(graph) == circle


def test_imports_for_annotations_count_and_late_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "a.py"
    file.write_text("if TYPE_CHECKING:\n    from p import b\nfrom p.c import x\n\ndef f():\n    import d\n")
    modules = dict.fromkeys(("p", "p.b", "p.c", "d"), file)
    assert modules_imported(file, modules) == {"p.b", "p.c"}
