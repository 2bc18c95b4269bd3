"""No file makes a parser raise anything but `UserError`. `make fuzz` tries many more; FUZZ says how many of each.

What once raised something else is kept in corpus/ under the parser's name, and is tried first, and mutated on.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from asc_core.checkpoint.reasons import json_object
from asc_core.checkpoint.settings import settings_of, without_pruned_heads
from asc_core.errors import UserError
from asc_core.recipes import Recipe
from asc_core.tasks import load_task
from asc_core.tasks.sources import FileOptions, read_file
from asc_core.values import Plan
from tests.fuzz.mutations import mutated

COUNT = int(os.environ.get("FUZZ", "40"))
CORPUS = Path(__file__).with_name("corpus")
PARSERS = sorted({file.suffix for file in CORPUS.iterdir()})
HEADS = (
    'kind = "text-classification"\ntexts = ["text"]\nlabel = "label"\n',
    'kind = "multi-label"\ntexts = ["text"]\nlabel = "label"\n',
    'kind = "regression"\ntexts = ["text"]\nlabel = "label"\n',
    'kind = "tagging"\n',
    'kind = "question-answering"\n',
)

NO_DATA: dict[str, Callable[[Path], object]] = {  # endings of this corpus -> what reads such a file
    ".toml": lambda path: load_task(path, split="train").examples("train"),
    ".plan": Plan.load,
    ".recipe": Recipe.load,
    ".config": lambda path: without_pruned_heads(settings_of("here", json_object(path)), "here"),
}


def _seeds(ending: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted(CORPUS.glob(f"*{ending}"))]


def _tried(path: Path, data: bytes) -> None:
    """Read as a file and as every kind of task. Raises: whatever is no `UserError`."""
    path.write_bytes(data)
    try:
        if path.suffix in NO_DATA:
            NO_DATA[path.suffix](path)
            return
        table = read_file(path, "train", FileOptions(words=len(data) % 2 == 0))
        assert all(isinstance(table.where(i), str) for i in range(min(len(table), 3)))
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for head in HEADS:
        (path.parent / "t.toml").write_text(f'{head}[data]\ntrain = "{path.name}"\ntest = "{path.name}"\n')
        try:
            task = load_task(path.parent / "t.toml")
            assert task.labels is not None
            task.examples("test")
            task.digest("test")
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("ending", PARSERS)
def test_what_once_failed_does_not(ending: str, tmp_path: Path) -> None:
    for data in _seeds(ending):
        _tried(tmp_path / f"a{ending}", data)


@pytest.mark.parametrize("ending", PARSERS)
def test_broken_files_are_told_or_read(ending: str, tmp_path: Path) -> None:
    corpus = _seeds(ending)
    for number in range(COUNT):
        data = mutated(zlib.crc32(ending.encode()) + number, corpus)
        try:
            _tried(tmp_path / f"a{ending}", data)
        except Exception:
            (kept := CORPUS / f"found-{number}{ending}").write_bytes(data)
            print(f"kept as {kept}")
            raise
