"""Read pickled weights with torch's restricted reader and write them as safetensors.

Run as a process of its own by `convert.py`: `python unpickle.py PICKLED SAFETENSORS [PICKLED SAFETENSORS ...]`. Where
it cannot, the last line on standard error says why.
"""

from __future__ import annotations

import re
import sys

import torch
from safetensors.torch import save_file


def rewrite(source: str, target: str) -> None:
    """Raises: what torch raises, and ValueError where the content is no table of tensors; both for `reason`."""
    state = torch.load(source, map_location="cpu", weights_only=True)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    tensors = {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)} if isinstance(state, dict) else {}
    if not tensors or len(tensors) < len(state):
        raise ValueError("it is not a table of named tensors")
    # clone: tensors that share memory, or are a view of more of it, are stored each on its own.
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, target, metadata={"format": "pt"})


def reason(error: Exception) -> str:
    """One line. Torch names what it refused to run in the middle of a long text about how to run it after all."""
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused:
        return f"it asks to run {refused[1]}, which weights have no need of"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    for old, new in zip(arguments[::2], arguments[1::2], strict=True):
        try:
            rewrite(old, new)
        except Exception as error:
            raise SystemExit(reason(error)) from None
