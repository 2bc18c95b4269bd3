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

FIRST_INPUT = "input_ids"
TOKEN_TYPES = "token_type_ids"


def write_tokenizer(tokenizer: Any, folder: Path, token_types: bool) -> None:
    """The tokenizer without what single calls left in it (fast ones keep truncation and padding), nor its old path.

    token_types: whether the model tells texts apart by them. Left unsaid, versions of transformers differ in whether a
    tokenizer gives them, and a model that does not take them (DistilBERT) fails on them.
    """
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
    _as_every_version_reads_it(settings)
    others = [name for name in tokenizer.model_input_names if name not in (FIRST_INPUT, TOKEN_TYPES)]
    settings["model_input_names"] = [FIRST_INPUT, *[TOKEN_TYPES] * token_types, *others]
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_every_version_reads_it(settings: dict[str, Any]) -> None:
    """Names that transformers 5 has given to classes and fields, as version 4 has them; both read those."""
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.pop("backend", None)
    extra = settings.get("extra_special_tokens")
    if isinstance(extra, list):
        del settings["extra_special_tokens"]
        if extra:
            settings["additional_special_tokens"] = extra
