"""Tensors that wait in half precision: most of a calibration is theirs, and only computing needs more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from asc_core.probes import ReadoutKey

LARGEST = 60000.0
ROUNDING = 1e-6  # of a sum of squares: errors below it may be what half precision has left out


class InHalfPrecision(Mapping[ReadoutKey, torch.Tensor]):
    """Gives float32; keeps 11 bits of every number, or all of them where one is too large for that."""

    def __init__(self, tensors: Mapping[ReadoutKey, torch.Tensor]):
        self._kept = {key: _kept(tensor) for key, tensor in tensors.items()}

    def __getitem__(self, key: ReadoutKey) -> torch.Tensor:
        return self._kept[key].float()

    def __iter__(self) -> Iterator[ReadoutKey]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._kept.values())


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    fits = not tensor.numel() or float(tensor.abs().max()) < LARGEST
    return tensor.half() if fits else tensor
