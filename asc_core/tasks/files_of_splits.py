"""Which files beside each other are the splits of one data set: train.csv, dev.csv and test.csv, say."""

from __future__ import annotations

import re
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.sources import SPLIT_NAMES
from asc_core.tasks.sources.decoding import format_of
from asc_core.tasks.sources.file import READERS

_BETWEEN = "(?<![a-z]){}(?![a-z])"  # a word in a name, such as reviews_train-v2.tsv
SHOWN = 10


def files_of_splits(path: Path) -> dict[str, Path]:
    """split -> file, for a folder, or for a file that is called train and those that lie beside it under such names.

    Any other file is the train split by itself. Raises: UserError where a folder holds no data, or several sets.
    """
    if not path.exists():
        raise UserError(f"There is no file {str(path)[:200]}.")
    if path.is_dir():
        return _in_folder(path)
    return {"train": path} | {s: other for s in ("validation", "test") if (other := _beside(path, s)) is not None}


def _in_folder(folder: Path) -> dict[str, Path]:
    if (folder / "seq.in").exists():
        return {"train": folder}
    inside = [p for p in sorted(folder.iterdir()) if format_of(p) in READERS or (p / "seq.in").exists()]
    found = {split: [p for p in inside if _named(p, split)] for split in SPLIT_NAMES}
    if len(inside) == 1:
        return {"train": inside[0]}
    for split, paths in found.items():
        if len(paths) > 1:
            raise UserError(
                f"{folder} has several files for {split}: {', '.join(p.name for p in paths[:SHOWN])}; name the one of "
                "train, and others with --validation and --test."
            )
    if not any(found.values()):
        there = ", ".join(p.name for p in inside[:SHOWN]) or "no file that can be read"
        raise UserError(f"{folder} has no file whose name says train, validation or test, but {there}; name the file.")
    return {split: paths[0] for split, paths in found.items() if paths}


def _beside(path: Path, split: str) -> Path | None:
    """The file whose name differs in the word for the split alone."""
    for name in SPLIT_NAMES["train"]:
        pattern = re.compile(_BETWEEN.format(name), re.IGNORECASE)
        if not pattern.search(path.name):
            continue
        for other in SPLIT_NAMES[split]:
            there = path.with_name(pattern.sub(other, path.name))
            if there.exists() and there != path:
                return there
    return None


def _named(path: Path, split: str) -> bool:
    return any(re.search(_BETWEEN.format(name), path.name, re.IGNORECASE) for name in SPLIT_NAMES[split])
