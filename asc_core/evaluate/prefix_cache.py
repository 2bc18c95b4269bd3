"""Hidden states that evaluations have in common are computed once: a prefix cache, over layers.

Two cuts of one original that begin alike (a head of the fifth layer is toggled, the layers below stay) hand the same
hidden states to the first layer in which they differ. So what each layer of an evaluated model has read is kept, batch
by batch, within a bound, and the next evaluation begins where its model is new.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from asc_core.bounded_cache import BoundedCache, Shelf
from asc_core.encoder import Encoder
from asc_core.evaluate.fast_forward import FastForward

MOST_BYTES = 512 << 20
KIND = "hidden states"

Key = tuple[str, str]


def prefix_shelf(cache: BoundedCache) -> Shelf[torch.Tensor]:
    """Where hidden states are kept among other things: no more than a half, they are made again in a second."""
    return cache.shelf(KIND, min(MOST_BYTES, cache.most_bytes // 2))


@dataclass(frozen=True)
class PrefixReuse:
    """One model's use of a cache. keys: for each of its layers, see `prefix_keys`."""

    cache: Shelf[torch.Tensor]
    keys: tuple[str, ...]


def unchanged(layer: int) -> str:
    """In a lineage: the layer computes what layer `layer` of the encoder before the step did."""
    return f"={layer}"


def prefix_keys(origin: str, layers: int, lineages: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """One key for each layer of what steps have made of an encoder; two models' are equal as far as their layers are.

    Args:
        origin: what decides the encoder, and the steps beside what they say themselves (its weights, the texts).
        layers: of the encoder.
        lineages: what each step says of the layers that it has left, see `Step.lineage`; where one says nothing of
            them, nothing can be reused: None.
    """
    keys = [unchanged(layer) for layer in range(layers)]
    for lineage in lineages:
        if lineage is None:
            return None
        before = _hashed([origin, keys])  # what a changed layer came of
        kept = {unchanged(layer): key for layer, key in enumerate(keys)}
        keys = [kept[key] if key in kept else _hashed([before, key]) for key in lineage]
    return tuple(_hashed([origin, keys[:layer]]) for layer in range(len(keys)))


def _hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


class CachedRunner:
    """Runs a model on batches, from the highest layer whose input is known. For one evaluation in one thread."""

    def __init__(self, encoder: Encoder, reuse: PrefixReuse, tokens: int):
        """tokens: of all batches. Where not all layers' states fit into the bound, every second (third ...) is kept.

        Raises: ValueError where layers share weights, or there is not one key for each layer.
        """
        if encoder.shape.shares_weights or len(reuse.keys) != encoder.shape.layers:
            raise ValueError(f"{len(reuse.keys)} prefix keys for {encoder.shape.layers} layers")
        self._runner, self._reuse = FastForward(encoder), reuse
        every = tokens * encoder.shape.hidden * 4 * max(1, encoder.shape.layers - 1)
        self._stride = max(1, math.ceil(every / max(1, reuse.cache.most_bytes)))
        self._recorded = False

    def __call__(self, inputs: dict[str, torch.Tensor]) -> Any:
        batch, cache, keys = _digest(inputs), self._reuse.cache, self._reuse.keys
        start, hidden = 0, None
        if self._recorded:
            for layer in range(len(keys) - 1, 0, -1):
                hidden = cache.get((keys[layer], batch))
                if hidden is not None:
                    start = layer
                    break
        output, seen = self._runner.record(inputs, start=start, hidden=hidden)
        self._recorded = True
        for layer in range(start + 1, len(seen)):
            if layer % self._stride == 0 and cache.get((keys[layer], batch)) is None:
                cache.put((keys[layer], batch), seen[layer], seen[layer].untyped_storage().nbytes())
        return output


def _digest(inputs: dict[str, torch.Tensor]) -> str:
    content = hashlib.sha256()
    for name in sorted(inputs):
        tensor = inputs[name]
        content.update(f"{name}{tuple(tensor.shape)}".encode())
        content.update(tensor.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()
