"""Encoders that came of one base hold much in common: what is equal lies in memory once."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from asc_core.encoder import Encoder

LEAST_BYTES = 1 << 20  # of a tensor that is worth a comparison


def share_equal(encoder: Encoder, others: Iterable[Encoder]) -> int:
    """Let large weights of an encoder that equal another's of the same name lie where those lie.

    Nothing writes into an encoder's weights: who trains does it on a copy. Returns the bytes that were saved.
    """
    saved = 0
    known = [dict(other.model.named_parameters()) for other in others]
    if not known:
        return 0
    for name, own in encoder.model.named_parameters():
        if own.nbytes >= LEAST_BYTES:
            twin = next((found for one in known if (found := one.get(name)) is not None and _equal(own, found)), None)
            if twin is not None:
                saved += 0 if own.data_ptr() == twin.data_ptr() else own.nbytes
                own.data = twin.data
    return saved


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    alike = (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
    return alike and (a.data_ptr() == b.data_ptr() or torch.equal(a, b))
