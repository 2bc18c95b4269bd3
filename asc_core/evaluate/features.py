"""Examples and their tokens, made once for all models that read them with the same tokenizer."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import Any

from asc_core.size_in_memory import size_of
from asc_core.tasks.base import Examples, Features, Reader, Task

KEPT_PER_TASK = 8

_Entry = tuple["weakref.ref[Any]", Examples, Features]
_kept: weakref.WeakKeyDictionary[Task, OrderedDict[tuple[Any, ...], _Entry]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def tokenised(
    reader: Reader, task: Task, split: str, limit: int | None = None, seed: int = 0
) -> tuple[Examples, Features]:
    """The examples of a split and their features; those used last are kept as long as the task lives."""
    reads = (reader.head, reader.labels, reader.slot_labels, reader.max_length, reader.type_vocab_size)
    key = (split, limit, seed if limit is not None else 0, id(reader.tokenizer), *reads)
    with _lock:
        kept = _kept.setdefault(task, OrderedDict())
        found = kept.get(key)
        if found is not None and found[0]() is reader.tokenizer:
            kept.move_to_end(key)
            return found[1:]
    examples = task.examples(split, limit, seed)
    features = task.features(examples, reader)
    with _lock:
        kept[key] = (weakref.ref(reader.tokenizer), examples, features)
        while len(kept) > KEPT_PER_TASK:
            kept.popitem(last=False)
    return examples, features


def tokenised_bytes(task: Task) -> int:
    """Memory that what is kept of a task takes, its examples included."""
    with _lock:
        kept = [entry[1:] for entry in _kept.get(task, {}).values()]
    return size_of(kept)
