"""torch: the model as it is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from asc_core.encoder import Encoder
from asc_core.loading import load_encoder
from asc_core.runtimes.session import Session


class TorchSession(Session):
    """torch has one number of threads for the whole process: it is set around each pass, and set back."""

    runtime: ClassVar[str] = "torch"

    def __init__(self, encoder: Encoder, threads: int):
        super().__init__(threads, encoder.tokens, encoder.max_length)
        self.encoder = encoder

    def prepared(self, texts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        inputs = {name: tensor.to(self.encoder.device) for name, tensor in texts.items()}
        _wait_for(self.encoder.device)
        return inputs

    def run(self, prepared: dict[str, torch.Tensor]) -> Any:
        with torch.inference_mode():
            said = self.encoder.model(**prepared)
        _wait_for(self.encoder.device)
        return said

    def outputs(self, said: Any) -> dict[str, torch.Tensor]:
        tensors = {name: value for name, value in said.items() if isinstance(value, torch.Tensor)}
        return {name: value.cpu() for name, value in tensors.items() if value.is_floating_point()}

    def answer(self, texts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with torch_threads(self.threads):
            return super().answer(texts)

    def seconds(self, texts: Mapping[str, torch.Tensor]) -> float:
        with torch_threads(self.threads):
            return super().seconds(texts)


class Torch:
    name, title, form = "torch", "PyTorch", ""

    def missing(self) -> str | None:
        return None

    def takes(self, folder: Path) -> bool:
        return (folder / "config.json").exists() and any(folder.glob("*.safetensors"))

    def of_folder(self, folder: Path, threads: int) -> Session:
        return TorchSession(load_encoder(str(folder), device="cpu"), threads)

    def of_encoder(self, encoder: Encoder, threads: int) -> Session:
        return TorchSession(encoder, threads)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many of them inside; what it was before afterwards."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        _start_threads()
        yield
    finally:
        torch.set_num_threads(before)


def _start_threads() -> None:
    """A team of another size is made anew at its first work, which is nobody's forward pass."""
    square = torch.ones(192, 192)
    square @ square


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
