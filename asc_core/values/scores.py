"""How much each part of an encoder contributes, and the arrays that this is stored as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from asc_core.values.plan import Provenance
from asc_core.values.shape import Shape


@dataclass(frozen=True)
class PartValues:
    """One number for each part of an encoder; None where a method says nothing about that kind of part.

    heads, neurons: one array a row, (heads of the row,) and (neurons of the row,). attention, ffn: (rows,), the two
    sublayers. layers: (layers,).
    """

    heads: tuple[np.ndarray, ...] | None = None
    neurons: tuple[np.ndarray, ...] | None = None
    attention: np.ndarray | None = None
    ffn: np.ndarray | None = None
    layers: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Flat names ("heads.0") to arrays: the form on disk."""
        flat: dict[str, np.ndarray] = {}
        for kind in ("heads", "neurons"):
            for row, values in enumerate(getattr(self, kind) or ()):
                flat[f"{kind}.{row}"] = values
        for kind in ("attention", "ffn", "layers"):
            if getattr(self, kind) is not None:
                flat[kind] = getattr(self, kind)
        return flat

    @staticmethod
    def from_arrays(flat: dict[str, np.ndarray]) -> PartValues:
        def rows(kind: str) -> tuple[np.ndarray, ...] | None:
            names = [n for n in flat if n.startswith(kind + ".")]
            return tuple(flat[f"{kind}.{row}"] for row in range(len(names))) or None

        return PartValues(rows("heads"), rows("neurons"), flat.get("attention"), flat.get("ffn"), flat.get("layers"))


@dataclass(frozen=True)
class Scores:
    """How much each part contributes, by one method on one task. Higher = contributes more = keep.

    labels: "none" (representation and weight methods), "gold", "sampled" or "argmax" (the model's own).
    low, high: the ends of a 95 % interval over examples, where the method has one.
    similarity: (L+1, L+1), ASC's matrix over the embedding output and each layer's output, where the method has one.
    details: further named arrays of a method, described there. texts: fingerprint of those it was made from, see
    `scores.origin`; "" where none were needed, or by an earlier version.
    """

    method: str
    values: PartValues
    shape: Shape
    weights: str
    task: str
    split: str
    examples: int
    seed: int = 0
    labels: str = "none"
    low: PartValues | None = None
    high: PartValues | None = None
    similarity: np.ndarray | None = None
    notes: str = ""
    details: Mapping[str, np.ndarray] = field(default_factory=dict)
    texts: str = ""

    def provenance(self, rule: str) -> Provenance:
        return Provenance(
            weights=self.weights, task=self.task, method=self.method, rule=rule, split=self.split, seed=self.seed
        )

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """(arrays, metadata), as they go into one safetensors file."""
        arrays: dict[str, np.ndarray] = {}
        for prefix, values in (("value", self.values), ("low", self.low), ("high", self.high)):
            if values is not None:
                arrays |= {f"{prefix}.{name}": np.ascontiguousarray(a) for name, a in values.arrays().items()}
        if self.similarity is not None:
            arrays["similarity"] = np.ascontiguousarray(self.similarity)
        arrays |= {f"detail.{name}": np.ascontiguousarray(a) for name, a in self.details.items()}
        simple = {k: getattr(self, k) for k in _SCORES_METADATA}
        return arrays, {"scores": json.dumps(simple | {"shape": self.shape.to_json()})}

    @staticmethod
    def from_arrays(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Scores:
        data = json.loads(metadata["scores"])
        shape = Shape.from_json(data.pop("shape"))

        def part(prefix: str) -> PartValues | None:
            own = {k.removeprefix(prefix + "."): v for k, v in arrays.items() if k.startswith(prefix + ".")}
            return PartValues.from_arrays(own) if own else None

        return Scores(
            values=part("value") or PartValues(),
            low=part("low"),
            high=part("high"),
            similarity=arrays.get("similarity"),
            details={k.removeprefix("detail."): v for k, v in arrays.items() if k.startswith("detail.")},
            shape=shape,
            **data,
        )


_SCORES_METADATA = ("method", "weights", "task", "split", "examples", "seed", "labels", "notes", "texts")
