"""Examples and their tokens, made once for all models that read them with the same tokenizer."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import Any

from asc_core.encoder import Encoder
from asc_core.tasks.base import Examples, Features, Task

KEPT_PER_TASK = 8

_Entry = tuple["weakref.ref[Any]", Examples, Features]
_kept: weakref.WeakKeyDictionary[Task, OrderedDict[tuple[Any, ...], _Entry]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def tokenised(
    encoder: Encoder, task: Task, split: str, limit: int | None = None, seed: int = 0
) -> tuple[Examples, Features]:
    """The examples of a split and their features; those used last are kept as long as the task lives."""
    config = encoder.model.config
    slots = tuple((getattr(config, "slot_id2label", None) or {}).values())
    reads = (encoder.architecture, encoder.head, encoder.labels, slots, encoder.max_length)
    key = (split, limit, seed if limit is not None else 0, id(encoder.tokenizer), *reads)
    with _lock:
        kept = _kept.setdefault(task, OrderedDict())
        found = kept.get(key)
        if found is not None and found[0]() is encoder.tokenizer:
            kept.move_to_end(key)
            return found[1:]
    examples = task.examples(split, limit, seed)
    features = task.features(examples, encoder)
    with _lock:
        kept[key] = (weakref.ref(encoder.tokenizer), examples, features)
        while len(kept) > KEPT_PER_TASK:
            kept.popitem(last=False)
    return examples, features
