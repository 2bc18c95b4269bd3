"""The state of a training run on disk, so that a killed run goes on where it was.

Tensors are safetensors, everything else is JSON in the same file's metadata, so that one rename makes both current.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asc_core.atomic_folder import is_disk_full, try_lock
from asc_core.errors import UserError
from asc_core.seals import KEY, UNSEALED, NotAsWrittenError, check_file, seal_file

Tensors = dict[str, torch.Tensor]


class Checkpoints:
    """Checkpoints of one run in a folder of their own, `out/.resume`.

    key: fingerprint of all that decides the result. What another run left behind is ignored and overwritten.
    """

    def __init__(self, folder: Path, key: str):
        self.folder = folder
        self.key = key
        self._held: int | None = None

    def claim(self) -> None:
        """For this run alone, until `release`. Raises: UserError where another one goes on here, or nothing can be
        written: better before the work than after it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held = os.open(self.folder, os.O_RDONLY)
            free = try_lock(self._held)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            self.release()
            raise self._unwritable(error) from None
        if not free:
            self.release()
            raise UserError(f"Another training goes on in {self.folder.parent}: wait for it, or name another folder.")

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _unwritable(self, error: Exception) -> UserError:
        way = "free some space" if is_disk_full(error) else "name a folder that can be written"
        return UserError(f"The training state cannot be written to {self.folder} ({error}): {way}.")

    def save(self, name: str, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Replace checkpoint `name` in one step. Raises: UserError where the disk is full or the folder read-only."""
        path = self._path(name)
        part = path.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(
                {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()},
                part,
                metadata={"facts": json.dumps(dict(facts) | {"key": self.key}), KEY: UNSEALED},
            )
            seal_file(part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            raise self._unwritable(error) from None

    def load(self, name: str) -> tuple[Tensors, dict[str, Any]] | None:
        """(tensors, facts), None where there is none of this run.

        Raises: UserError where it does not hold what was written; to go on from it would end in other weights.
        """
        path = self._path(name)
        try:
            check_file(path)
            with safe_open(str(path), framework="pt") as file:
                facts = json.loads((file.metadata() or {}).get("facts", "{}"))
                if facts.pop("key", None) != self.key:
                    return None
                return {key: file.get_tensor(key) for key in file.keys()}, facts  # noqa: SIM118 (not a dict)
        except FileNotFoundError:
            return None
        except NotAsWrittenError:
            raise UserError(f"The training state {path} is damaged: remove {self.folder} to start anew.") from None
        except (OSError, SafetensorError, ValueError) as error:
            raise UserError(
                f"The training state {path} cannot be read ({error}): remove {self.folder} to start anew."
            ) from None

    def keep_only(self, *names: str) -> None:
        for path in self.folder.glob("*.safetensors"):
            if path.stem not in names:
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[torch.Tensor, str]) -> Tensors:
    """The optimiser's state under flat names ("exp_avg:bert.pooler.dense.weight")."""
    return {
        f"{kind}:{names[parameter]}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Tensors, parameters: Mapping[str, torch.nn.Parameter]
) -> None:
    """The opposite of `optimizer_tensors`."""
    for key, tensor in tensors.items():
        kind, _, name = key.partition(":")
        parameter = parameters[name]
        on = tensor if kind == "step" else tensor.to(parameter.device)  # AdamW counts its steps on the CPU
        optimizer.state[parameter][kind] = on.clone()
