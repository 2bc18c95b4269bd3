"""The folder that a training run leaves: whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from asc_core.atomic_folder import new_folder
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.train.heads import loadable_config

RESUME = ".resume"


def check_unused(out: Path) -> None:
    """Raises: UserError where `out` holds something that is not ours to replace."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder for the fine-tuned model.")
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
    except SafetensorError as error:
        raise UserError(f"{out} cannot be written ({error}): free some space or name another folder.") from None


def save_checkpoint(encoder: Encoder, folder: Path) -> None:
    """A folder as transformers writes it; for a cut model with the modeling file that its `auto_map` names."""
    encoder.model.save_pretrained(folder)
    config = loadable_config(encoder)
    config.save_pretrained(folder)
    references = (getattr(config, "auto_map", None) or {}).values()
    for module in {str(reference).split("--")[-1].split(".")[0] for reference in references}:
        file = Path(encoder.source) / f"{module}.py"
        if file.exists():
            shutil.copy2(file, folder)
