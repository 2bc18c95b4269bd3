"""Attention that has lost all its heads: it writes its readout's bias and computes nothing else.

An architecture's own reshapes mean nothing on zero heads: disentangled attention cannot run them at all, and ONNX reads
a size of 0 as "as it was".
"""

from __future__ import annotations

from typing import Any

import torch

from .architectures import Architecture


def leave_without_heads(architecture: Architecture, attention: Any) -> None:
    """Change an attention module whose readout has no columns left, in place."""
    if getattr(attention, "headless", False):
        return
    inside = f"{architecture.attention}."
    attention.__class__ = _headless(type(attention))
    attention.readout_inside, attention.norm_inside = (
        path.removeprefix(inside) if path.startswith(inside) else ""
        for path in (architecture.attention_readout, architecture.attention_norm)
    )


def _headless(attention_class: Any) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
        # Versions of transformers name it otherwise: DistilBERT's was the query.
        hidden_states = args[0] if args else kwargs["hidden_states" if "hidden_states" in kwargs else "query"]
        written = hidden_states[..., :0]
        if self.readout_inside:
            written = self.get_submodule(self.readout_inside)(written)
        if self.norm_inside:
            written = self.get_submodule(self.norm_inside)(hidden_states + written)
        return written, None

    return type(f"Headless{attention_class.__name__}", (attention_class,), {"forward": forward, "headless": True})
