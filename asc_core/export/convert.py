"""Pickled weights to safetensors, without letting the pickle run anything: `asc convert DIR`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asc_core.atomic_folder import new_files
from asc_core.errors import UserError
from asc_core.export import unpickle
from asc_core.export.fresh_process import run_alone
from asc_core.json_files import read_json
from asc_core.progress import Progress

# What transformers and peft call pickled weights, and what they call the same in safetensors.
_SINGLE = {"pytorch_model.bin": "model.safetensors", "adapter_model.bin": "adapter_model.safetensors"}
# What a training run pickles beside the weights.
_NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
_INDEX, _NEW_INDEX = "pytorch_model.bin.index.json", "model.safetensors.index.json"


def convert(folder: str | Path, progress: Progress | None = None) -> Path:
    """Write safetensors beside the pickled weights (.bin) of a checkpoint folder, which stay as they are.

    The pickle is read in a process of its own by torch's restricted reader, which makes tensors and calls nothing.
    Returns: the new file (of weights in several files, their index). Raises: UserError where there is nothing to
    convert, where safetensors are there already, or where a file asks for more than tensors; Cancelled.
    """
    folder, progress = Path(folder), progress or Progress()
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    present = sorted(p.name for p in folder.glob("*.safetensors"))
    if present:
        raise UserError(f"{folder} has safetensors already ({', '.join(present)}): there is nothing to convert.")
    if (folder / _INDEX).exists():
        shards, index = _shards(folder)
        _convert_files(folder, shards, index, progress)
        return folder / _NEW_INDEX
    single = _single_file(folder)
    new = _SINGLE.get(single, "model.safetensors")
    _convert_files(folder, {single: new}, None, progress)
    return folder / new


def _single_file(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    names = [name for name in names if not name.startswith(_NO_WEIGHTS)]
    known = [name for name in names if name in _SINGLE] or names
    if len(known) != 1:
        found = f"several ({', '.join(known)}): keep the one that counts" if known else "none"
        raise UserError(
            f"{folder} should have one file of pickled weights, such as pytorch_model.bin, and has {found}."
        )
    return known[0]


def _shards(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """(pickled file -> new file, the new index). The index is untrusted: it may name files of this folder alone."""
    index = read_json(folder / _INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()) or not names:
        raise UserError(f"{folder / _INDEX} does not say which weight is in which file.")
    shards = {}
    for name in sorted(set(names.values())):
        if Path(name).name != name or not name.endswith(".bin"):
            raise UserError(f"{folder / _INDEX} names the file {name!r}, which is not pickled weights of this folder.")
        if not (folder / name).exists():
            raise UserError(f"{folder} lacks {name}, which its index names: copy or download it again.")
        shards[name] = name.replace("pytorch_model", "model", 1).removesuffix(".bin") + ".safetensors"
    metadata = index.get("metadata") if isinstance(index.get("metadata"), dict) else {}
    return shards, {"metadata": metadata, "weight_map": {key: shards[name] for key, name in names.items()}}


def _convert_files(folder: Path, files: dict[str, str], index: dict[str, Any] | None, progress: Progress) -> None:
    """All new files appear together at the end, the index last."""
    progress.step(0, 1, "converting")
    names = [*files.values(), *([_NEW_INDEX] if index is not None else [])]
    with new_files(folder, names) as scratch:
        paths = [str(p) for old, new in files.items() for p in ((folder / old).resolve(), (scratch / new).resolve())]
        last_line = run_alone(Path(unpickle.__file__), paths, scratch, progress.cancel)
        for old, new in files.items():
            if not (scratch / new).exists():
                if "No space left" in last_line:
                    raise UserError(f"The disk of {folder} is full: free some space. Nothing was written.")
                raise UserError(f"{folder / old} cannot be converted: {last_line}. Nothing was run or written.")
        if index is not None:
            (scratch / _NEW_INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    progress.step(1, 1, "converting")
