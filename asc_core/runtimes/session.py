"""A model that a runtime has loaded: it answers, and its passes are timed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch


class Session(ABC):
    """One model in one runtime on so many threads.

    vocabulary: tokens that it has embeddings for. max_tokens: of a text, None where nothing bounds it.
    """

    runtime: ClassVar[str]

    def __init__(self, threads: int, vocabulary: int, max_tokens: int | None):
        self.threads, self.vocabulary, self.max_tokens = threads, vocabulary, max_tokens

    @abstractmethod
    def prepared(self, texts: Mapping[str, torch.Tensor]) -> Any:
        """input_ids, attention_mask and what else a task gives, (rows, T) each, as the runtime takes them."""

    @abstractmethod
    def run(self, prepared: Any) -> Any:
        """One forward pass, finished when it returns."""

    @abstractmethod
    def outputs(self, said: Any) -> dict[str, torch.Tensor]:
        """What a pass said, by the names that the model in memory has for it."""

    def answer(self, texts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The model's floating-point outputs by name, on the CPU."""
        return self.outputs(self.run(self.prepared(texts)))

    def seconds(self, texts: Mapping[str, torch.Tensor]) -> float:
        """Of one forward pass, the inputs already where the runtime wants them."""
        prepared = self.prepared(texts)
        began = time.perf_counter()
        self.run(prepared)
        return time.perf_counter() - began


class GraphSession(Session):
    """A session of a graph: inputs are arrays, whatever of them the graph takes.

    Graph runtimes set up memory or kernels for a shape when they first see it; a pass is timed from the second on.
    """

    takes: tuple[str, ...]
    _seen: set[tuple[int, ...]]

    def __init__(self, threads: int, vocabulary: int, max_tokens: int | None):
        super().__init__(threads, vocabulary, max_tokens)
        self._seen = set()

    def prepared(self, texts: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        rows = texts["input_ids"]
        given = {name: texts[name] if name in texts else torch.zeros_like(rows) for name in self.takes}
        return {name: np.ascontiguousarray(tensor.cpu().numpy().astype(np.int64)) for name, tensor in given.items()}

    def seconds(self, texts: Mapping[str, torch.Tensor]) -> float:
        shape = tuple(texts["input_ids"].shape)
        if shape not in self._seen:
            self._seen.add(shape)
            self.run(self.prepared(texts))
        return super().seconds(texts)
