"""How much memory a value takes: counted where it is tensors, estimated from a sample where it is many rows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

CODE = (bool, type, FunctionType, MethodType, BuiltinFunctionType, partial)
SAMPLED = 64  # of a long list's entries, evenly
TOKEN_BYTES = 350  # of a tokenizer's table, both ways and with merges; 9 to 12 MB at 30,522 tokens


def size_of(value: Any, without: tuple[type, ...] = ()) -> int:
    """Bytes that would be free without it. What several parts of it share counts once.

    Functions, classes and memory-mapped datasets count nothing: the first belong to the code, the last to the system's
    file cache. Lists of more than 64 entries are estimated from as many of them. without: what is counted elsewhere.
    """
    return _Count((*CODE, *without)).of(value)


@dataclass
class _Count:
    uncounted: tuple[type, ...]
    seen: set[int] = field(default_factory=set)
    # ids of temporaries would be given again: what was seen must stay
    alive: list[Any] = field(default_factory=list)

    def of(self, value: Any) -> int:
        if value is None or isinstance(value, self.uncounted):
            return 0
        if isinstance(value, torch.Tensor):
            return self._storage(value)
        if id(value) in self.seen:
            return 0
        self.seen.add(id(value))
        self.alive.append(value)
        if isinstance(value, np.ndarray):
            return int(value.nbytes) + (self._entries(value.tolist()) if value.dtype == object else 0)
        if isinstance(value, nn.Module):
            return sum(map(self._storage, [*value.parameters(), *value.buffers()]))
        if _is_dataset(value):
            return 0 if getattr(value, "cache_files", None) else int(value.data.nbytes)
        return sys.getsizeof(value) + self._within(value)

    def _within(self, value: Any) -> int:
        if isinstance(value, str | bytes | int | float):
            return 0
        if isinstance(value, Mapping) and not hasattr(value, "__dict__"):
            return self._entries(list(value.values())) + self._entries(list(value.keys()))
        if isinstance(value, list | tuple | set | frozenset):
            return self._entries(list(value))
        if hasattr(value, "get_vocab_size"):  # a tokenizer's table lies outside of Python
            return TOKEN_BYTES * int(value.get_vocab_size())
        own = dict(getattr(value, "__dict__", {}))
        own |= {name: getattr(value, name, None) for name in _slots(type(value))}
        inside = sum(self.of(one) for one in own.values())
        return inside + (self._entries(list(value.values())) if isinstance(value, dict) else 0)

    def _entries(self, values: list[Any]) -> int:
        if len(values) <= SAMPLED:
            return sum(self.of(one) for one in values)
        places = np.linspace(0, len(values) - 1, SAMPLED).astype(int)
        return int(sum(self.of(values[place]) for place in places) * len(values) / SAMPLED)

    def _storage(self, tensor: torch.Tensor) -> int:
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self.seen:
            return 0
        self.seen.add(storage.data_ptr())
        return int(storage.nbytes())


def _is_dataset(value: Any) -> bool:
    """Of the library datasets, which need not be imported for it."""
    return hasattr(value, "cache_files") and hasattr(getattr(value, "data", None), "nbytes")


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        found += [names] if isinstance(names, str) else list(names)
    return [name for name in found if name not in ("__dict__", "__weakref__")]
