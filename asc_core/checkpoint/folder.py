"""What can be said about a checkpoint folder before loading it, in one sentence each."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoTokenizer

from asc_core.checkpoint.other_forms import instead
from asc_core.checkpoint.reasons import json_object, reason
from asc_core.checkpoint.tokenizer_bounds import check_tokenizer
from asc_core.errors import UserError, is_failure


def check_regular(folder: Path) -> None:
    """A pipe that nobody writes to is waited for, and a device never ends, so nothing else than files is read.

    Raises: UserError that names what is none.
    """
    for place in (folder, *folder.glob("[0-9]*_*")):
        for path in place.iterdir() if place.is_dir() else ():
            if path.exists() and not path.is_file() and not path.is_dir():
                raise UserError(f"{path} is neither a file nor a folder, but a pipe or a device: remove it.")


def check_folder(folder: Path, source: str | None = None) -> None:
    """source: its name in messages where it is not the folder's own. Raises: UserError."""
    name_of = source or str(folder)
    adapter = (folder / "adapter_config.json").exists()
    if not adapter and not (folder / "config.json").exists():
        raise UserError(
            f"{name_of} has no config.json: it is not a checkpoint folder of transformers{instead(folder)}."
        )
    for name in ("config.json", "adapter_config.json"):
        if (folder / name).exists():
            json_object(folder / name)
    safe = sorted(folder.glob("*.safetensors"))
    if not safe:
        if list(folder.glob("*.bin")) or list(folder.glob("*.pt")):
            raise UserError(
                f"{name_of} has only pickled weights, which can run code when they are read: "
                f"`asc convert {folder}` makes safetensors of them."
            )
        raise UserError(f"{name_of} has no weights (*.safetensors){instead(folder)}.")
    for path in safe:
        try:
            with safe_open(str(path), framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is broken ({reason(error)}): copy or download it again.") from None
    if not adapter:
        _require_shards(folder)
        _require_tokenizer(folder)


def _require_shards(folder: Path) -> None:
    """All files that the index of weights in several files names."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists():
        return
    if not index.exists():
        other = instead(folder)
        if other:
            raise UserError(f"{folder} has no weights (model.safetensors){other}.")
        found = sorted(path.name for path in folder.glob("*.safetensors"))
        raise UserError(f"{folder} has its weights in {', '.join(found[:3])}; the file should be model.safetensors.")
    names = json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise UserError(f"{index} does not say which weight is in which file: copy or download it again.")
    for name in sorted({str(value) for value in names.values()}):
        if Path(name).name != name:
            raise UserError(f"{index} names the file {name!r}, which does not lie in this folder.")
        if not (folder / name).exists():
            raise UserError(f"{folder} lacks {name}, which its index names: copy or download it again.")


def _require_tokenizer(folder: Path) -> None:
    names = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "sentencepiece.bpe.model", "spiece.model")
    if not any((folder / name).exists() for name in names):
        raise UserError(
            f"{folder} has no tokenizer (no tokenizer.json or vocabulary file): "
            "copy the tokenizer files of the model that it was fine-tuned from into it."
        )


def _try(tokenizer: Any) -> None:
    """Some files break the library only when it splits a text: let it be now. What texts it cannot split is said of
    them."""
    with suppress(Exception):
        tokenizer(["a text, that is: \u00e4 1", "a"], ["another", "b"])


def load_tokenizer(folder: Path, source: str, trust_remote_code: bool) -> Any:
    """Raises: UserError where there is none that works."""
    try:
        check_tokenizer(folder, source)
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
        _try(tokenizer)
        if not trust_remote_code:  # what is saved later names no code that was not run here
            for name in ("auto_map", "custom_pipelines"):
                tokenizer.init_kwargs.pop(name, None)
            vars(tokenizer).pop("_auto_map", None)
        return tokenizer
    except BaseException as error:  # a broken tokenizer.json raises a bare Exception, or makes the library panic
        if isinstance(error, UserError) or not is_failure(error):
            raise
        raise UserError(
            f"{source}: its tokenizer cannot be loaded ({reason(error)}): copy the tokenizer files of the model "
            "that it was fine-tuned from into it."
        ) from None
