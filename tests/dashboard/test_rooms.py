from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dashboard

FILES = [
    file
    for room in ("text", "state", "tables", "background", "measuring", "charts")
    for file in (Path(dashboard.__file__).parent / room).glob("*.py")
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_is_measured_said_and_drawn_needs_no_streamlit(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.split(".")[0] == "streamlit" for name in names)
