"""Encoders that came of one base hold much in common: what is equal lies in memory once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from asc_core.encoder import Encoder

LEAST_BYTES = 1 << 20  # of a tensor that is worth a comparison


def share_equal(encoder: Encoder, others: Iterable[Encoder]) -> int:
    """Let large weights of an encoder that equal another's of the same name lie where those lie.

    The rest is copied then: weights lie in a file that is mapped as a whole, and stays so while any of them does.
    Nothing writes into an encoder's weights: who trains does it on a copy. Returns the bytes that were saved.
    """
    known = [dict(other.model.named_parameters()) for other in others]
    if not known:
        return 0
    saved, rest = 0, []
    for name, own in encoder.model.named_parameters():
        twin = _twin(name, own, known) if own.nbytes >= LEAST_BYTES else None
        if twin is None:
            rest.append(own)
        elif own.data_ptr() != twin.data_ptr():
            own.data = twin.data
            saved += own.nbytes
    for own in rest if saved else []:
        own.data = own.data.clone()
    return saved


def _twin(name: str, own: torch.Tensor, known: list[dict[str, nn.Parameter]]) -> torch.Tensor | None:
    return next((found for one in known if (found := one.get(name)) is not None and _equal(own, found)), None)


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    alike = (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
    return alike and (a.data_ptr() == b.data_ptr() or torch.equal(a, b))
