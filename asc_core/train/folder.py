"""The folder that a training run leaves: whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from asc_core import modeling
from asc_core.atomic_folder import new_folder, recover
from asc_core.checkpoint.digests import write_digests
from asc_core.checkpoint.own_code import auto_map_of, write_own_code
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.train.heads import loadable_config

RESUME = ".resume"
FINISHED = "training.jsonl"  # written with all else at the very end


def check_unused(out: Path) -> None:
    """Raises: UserError where `out` holds something that is not ours to replace.

    What a run that was killed at its very end had moved aside is there again afterwards.
    """
    recover(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder for the fine-tuned model.")
    if (out / FINISHED).is_file():
        raise UserError(f"{out} holds what a training has made already: use it, or name a new folder for another one.")
    if out.is_dir() and any(path.name != RESUME for path in out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder for the fine-tuned model, or remove this one.")


@contextmanager
def made_at_once(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when all went well and leaves nothing when not.

    Raises: UserError where the disk is full or read-only.
    """
    check_unused(out)
    try:
        with new_folder(out, overwrite=True, marker=RESUME) as part:
            yield part
            for weights in part.glob("*.safetensors"):  # safetensors makes files that their owner alone may read
                shutil.copymode(part / "config.json", weights)
            write_digests(part)
    except SafetensorError as error:
        raise UserError(f"{out} cannot be written ({error}): name another folder.") from None


def save_checkpoint(encoder: Encoder, folder: Path) -> None:
    """A folder as transformers writes it; for a cut model with our own code and the `auto_map` that names it,
    for an embedding model with what says how its vectors are made.
    """
    encoder.model.save_pretrained(folder)
    config = loadable_config(encoder)
    if modeling.needs_compact_class(config):
        config.auto_map = auto_map_of(encoder.architecture, encoder.head)
        write_own_code(folder)
    config.save_pretrained(folder)
    if encoder.head == "embedding" and encoder.sentences is not None:
        encoder.sentences.write(folder)
