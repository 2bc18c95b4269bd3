"""Named tensors in one safetensors file, and which of them are one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, isfinite

from asc_core.errors import UserError
from asc_core.modeling import Packing


def ties_of(state: Mapping[str, Tensor]) -> dict[str, str]:
    """name -> the name before it that is the same tensor in memory."""
    first: dict[tuple, str] = {}
    ties = {}
    for name, tensor in state.items():
        if tensor.numel() == 0:
            continue
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.device)
        if place in first:
            ties[name] = first[place]
        else:
            first[place] = name
    return ties


def write_weights(state: Mapping[str, Tensor], path: Path, packing: Packing) -> int:
    """The bytes of all tensors written. One that several names still share is written for each of them.

    Raises: UserError where a weight is not a finite number as it is stored.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        stored = packing.pack(tensor.detach().cpu()).contiguous()
        if stored.is_floating_point() and not isfinite(stored).all():
            raise UserError(f"The weight {name} holds numbers that are not finite in {packing.name}.")
        storage = stored.untyped_storage().data_ptr()
        shares = storage in seen or stored.untyped_storage().nbytes() != stored.numel() * stored.element_size()
        tensors[name] = stored.clone() if shares else stored  # safetensors refuses tensors that share memory
        seen.add(storage)
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(0o666 & ~_umask(path.parent))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _umask(folder: Path) -> int:
    """The process's umask, read off a directory made under it: asking for it would change it for other threads."""
    return ~folder.stat().st_mode & 0o777
