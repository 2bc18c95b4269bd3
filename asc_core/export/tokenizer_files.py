"""A tokenizer's files in a model directory."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

# What says where the tokenizer lay, not what it is.
_OF_THIS_MACHINE = (
    "name_or_path",
    "tokenizer_file",
    "auto_map",
    "cache_dir",
    "local_files_only",
    "is_local",
    "_commit_hash",
)


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """The tokenizer without what single calls left in it (fast ones keep truncation and padding), nor its old path."""
    clean = copy.deepcopy(tokenizer)
    backend = getattr(clean, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    clean.init_kwargs.pop("name_or_path", None)
    clean.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for name in _OF_THIS_MACHINE:
        settings.pop(name, None)
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
