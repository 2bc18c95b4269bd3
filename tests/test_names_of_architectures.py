"""What differs by architecture stands in one folder, and so does what kinds of matrix there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from asc_core.modeling import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    file
    for file in [*ROOT.glob("asc_core/**/*.py"), *ROOT.glob("dashboard/**/*.py")]
    if (ROOT / "asc_core" / "modeling") not in file.parents
)


def paths() -> set[str]:
    """Dotted places of modules, of every architecture."""
    found = set()
    for table in ARCHITECTURES.values():
        feeders = [feeder.path for kind in ("attention", "ffn") for feeder in table.feeders(kind)]
        found |= {*feeders, table.attention_readout, table.ffn_readout, table.layers, table.word_embedding}
    return {path for path in found if "." in path}


def test_no_other_file_names_a_module_of_an_architecture() -> None:
    named = re.compile("|".join(rf"[\"'.]{re.escape(path)}[\"'.]" for path in sorted(paths())))
    found = {file.relative_to(ROOT): named.findall(file.read_text(encoding="utf-8")) for file in FILES}
    assert {file: names for file, names in found.items() if names} == {}


def test_no_other_file_asks_which_type_a_matrix_is_of() -> None:
    """Another kind of matrix is registered in modeling/linears.py; a test of types elsewhere would miss it."""
    asked = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            asks = isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
            if asks and re.search(r"\bnn\.(Linear|Embedding)\b|\bFactoredLinear\b", ast.unparse(node)):
                asked.append(f"{file.relative_to(ROOT)}, line {node.lineno}: {ast.unparse(node)}")
    assert asked == []
