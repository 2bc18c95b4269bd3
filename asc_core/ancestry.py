"""What a model was made from: kept in a file beside its weights, so that whatever is made of it later can say so.

A model goes through several commands (trained, cut, trained again, exported). Each writes a folder, and its weights do
not tell what they were before: the file says it, and the fingerprint of the weights says whether what lies at the
original's place still is the original.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from asc_core.errors import UserError
from asc_core.json_files import read_json
from asc_core.values.checked import first_fault, parsed

ANCESTRY_FILE = "ancestry.json"
FORMAT = "asc-ancestry/1"
RECIPE_PLACE = "{recipe}"  # in a stage's command: the file that its recipe lies in, where the command is shown


@dataclass(frozen=True)
class Ancestor:
    """A model that another was made of.

    name: what people call it. source: a hub id or a scheme's name, as `load_encoder` takes it. folder: where it lies,
    absolute here, in the file as it is found from the folder that remembers it. Both are "" for one that was never
    written, such as what a recipe trained before it cut. weights: its fingerprint. parameters, bytes: what it weighs.
    flops: of one text of average length, by the fingerprint of a task's texts.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    name: str
    weights: str
    parameters: int
    bytes: int
    source: str = ""
    folder: str = ""
    flops: dict[str, float] = field(default_factory=dict)

    @property
    def public_name(self) -> str:
        return self.source or self.name


@dataclass(frozen=True)
class Stage:
    """One command, or one call of the library: what it did, in sentences about what was run.

    command: the line that does it again, with `RECIPE_PLACE` for the recipe's file. recipe: as JSON, if there is one.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    steps: tuple[str, ...]
    command: str = ""
    recipe: dict[str, Any] | None = None


@dataclass(frozen=True)
class Ancestry:
    """original: the model before the first change of its parts, None where its parts were never changed. stages: all
    that was done, from the first model that was loaded on. base: what that is called.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    base: str = ""
    original: Ancestor | None = None
    stages: tuple[Stage, ...] = ()

    def then(self, stage: Stage, base: str, original: Ancestor | None = None) -> Ancestry:
        """With one more stage. base, original: taken where there was none before."""
        return Ancestry(self.base or base, self.original or original, (*self.stages, stage))

    def write(self, folder: Path, out: Path) -> None:
        """folder: to write into, which will be `out`. Nothing is written where nothing was done."""
        if not self.stages:
            return
        original = self.original
        if original is not None and original.folder:
            original = replace(original, folder=os.path.relpath(original.folder, out.resolve()))
        data = {"format": FORMAT, **asdict(replace(self, original=original))}
        (folder / ANCESTRY_FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> Ancestry:
        """What a folder says of itself; an empty one where it says nothing. Raises: UserError where it is damaged."""
        path = folder / ANCESTRY_FILE
        if not path.is_file():
            return Ancestry()
        data = read_json(path)
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise UserError(
                f'{path} does not say "format": "{FORMAT}": remove it, and the model loads without its past.'
            )
        try:
            found = parsed(_ANCESTRY, {key: value for key, value in data.items() if key != "format"})
        except ValidationError as error:
            raise UserError(
                f"{path} is damaged ({first_fault(error)}): remove it, and the model loads without its past."
            ) from None
        original = found.original
        if original is not None and original.folder:
            original = replace(original, folder=os.path.normpath(folder.resolve() / original.folder))
        return replace(found, original=original)


_ANCESTRY = TypeAdapter(Ancestry)
