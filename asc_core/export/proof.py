"""What a folder's model answered when it was exported, kept beside it, so that its receiver can ask again.

The texts are the engine's own sentences and random tokens, never the application's: those may be nobody's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from asc_core.encoder import HEADS
from asc_core.errors import UserError, first_line
from asc_core.export.comparison import Questions
from asc_core.json_files import read_json
from asc_core.values.checked import first_fault, parsed

PROOF_FILE, ANSWERS_FILE = "proof.json", "proof.safetensors"
FORMAT = "asc-proof/1"
LONGEST = 64  # tokens of the longest text: hidden states of many would weigh more than they prove

Rows = Annotated[list[list[int]], Field(min_length=1)]


@dataclass(frozen=True)
class Proof:
    """form: a name in `FORMATS`. request: what its answering script needs beside the questions. rounds: whether
    inputs are rounded, so that more is allowed. alike: whether the model in memory rounded them, too."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    format: Literal["asc-proof/1"]
    form: str
    max_length: Annotated[int, Field(ge=1)]
    texts: list[tuple[str, str | None]]
    batches: list[dict[str, Rows]]
    request: dict[str, str | bool | int | float]
    rounds: bool = False
    alike: bool = False

    def asked(self, folder: Path) -> dict[str, Any]:
        questions = {"texts": self.texts, "max_length": self.max_length, "batches": self.batches}
        return {"folder": str(folder), **questions, **self.request}


def write_proof(
    folder: Path,
    form: str,
    request: Mapping[str, Any],
    questions: Questions,
    answers: Mapping[str, torch.Tensor],
    rounds: bool = False,
    alike: bool = False,
) -> None:
    """answers: of the model in memory, as `comparison` compares them. rounds, alike: see `Proof`."""
    data = {
        "format": FORMAT,
        "form": form,
        "max_length": questions.max_length,
        "texts": questions.texts,
        "batches": questions.batches,
        "request": dict(request),
        **({"rounds": True} if rounds else {}),
        **({"alike": True} if alike else {}),
    }
    (folder / PROOF_FILE).write_text(json.dumps(data, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / ANSWERS_FILE).write_bytes(save({name: tensor.clone() for name, tensor in answers.items()}))


def read_proof(folder: Path) -> tuple[Proof, dict[str, torch.Tensor]]:
    """(what to ask, what was answered). Both may come from anyone. Raises: UserError where they are damaged."""
    path = folder / PROOF_FILE
    if not path.exists() or not (folder / ANSWERS_FILE).exists():
        raise UserError(f"{folder} has no {PROOF_FILE} with {ANSWERS_FILE}: export it again with `asc export`.")
    try:
        proof = parsed(_PROOF, read_json(path))
        answers = load_file(folder / ANSWERS_FILE)
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({first_fault(error)}): copy or download the folder again.") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder / ANSWERS_FILE} is damaged ({first_line(error)}): copy it again.") from None
    if any("attention_mask" not in batch for batch in proof.batches):
        raise UserError(f"{path} is damaged (a batch lacks its attention_mask): copy or download the folder again.")
    if proof.request.get("auto", "AutoModel") not in HEADS.values():
        raise UserError(f"{path} asks for the class {proof.request['auto']!r}, which is none that exports load with.")
    return proof, answers


_PROOF = TypeAdapter(Proof)
