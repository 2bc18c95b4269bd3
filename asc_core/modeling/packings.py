"""How weights lie in a file, apart from the file's format and from what is computed with them, which is float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Packing:
    """Every floating-point number stored in one type; other numbers keep theirs.

    about: what it is, in a few words. note: what a model card says of it, empty where there is nothing to say.
    """

    name: str
    about: str
    dtype: torch.dtype
    note: str = ""

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor as it is stored."""
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def unpacked(self, tensor: torch.Tensor) -> torch.Tensor:
        """What is computed with once it was stored: the type of before, less what storing took from it."""
        return self.pack(tensor).to(tensor.dtype)

    def bytes(self, tensor: torch.Tensor) -> int:
        """What it takes in a file, without the file's header."""
        return tensor.numel() * (self.dtype.itemsize if tensor.is_floating_point() else tensor.element_size())


PACKINGS: dict[str, Packing] = {
    packing.name: packing
    for packing in (
        Packing("float32", "as they are computed", torch.float32),
        Packing(
            "float16",
            "half the bytes, rounded to eleven bits",
            torch.float16,
            "The weights are stored in float16; compute in float32 on a CPU with `dtype=torch.float32`.",
        ),
    )
}
