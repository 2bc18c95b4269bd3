"""The code that a folder of ours names and brings: always this version's, never what somebody's configuration named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asc_core import modeling
from asc_core.encoder import HEADS


def auto_map_of(architecture: str, head: str) -> dict[str, str]:
    """Auto class -> where transformers finds our class for it in such a folder."""
    auto = "AutoModel" if head == "intent-slots" else HEADS[head]
    named: dict[str, Any] = {name: modeling.compact_class(architecture, name) for name in ("AutoConfig", "AutoModel")}
    named[auto] = modeling.compact_class(architecture, HEADS[head])
    return {name: f"{modeling.ENTRY_MODULE}.{made.__name__}" for name, made in named.items()}


def write_own_code(folder: Path) -> None:
    for name, source in modeling.sources().items():
        (folder / name).write_text(source, encoding="utf-8")
