"""How much each part of an encoder contributes, and the arrays that this is stored as."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asc_core.values.plan import Provenance
from asc_core.values.shape import Shape

ByKind = tuple[np.ndarray, ...] | np.ndarray


@dataclass(frozen=True, init=False)
class PartValues:
    """One number for each part of an encoder, by kind of part; a kind that a method says nothing about is not there.

    by_kind: for parts inside a row one array a row, such as heads, neurons: (heads of the row,), (neurons of the row,);
    for others one array, such as attention, ffn: (rows,), the two sublayers, and layers: (layers,).
    """

    by_kind: dict[str, ByKind]

    def __init__(
        self,
        heads: tuple[np.ndarray, ...] | None = None,
        neurons: tuple[np.ndarray, ...] | None = None,
        attention: np.ndarray | None = None,
        ffn: np.ndarray | None = None,
        layers: np.ndarray | None = None,
        **others: ByKind | None,
    ) -> None:
        """others: kinds besides these, by names without a dot. Any that is None is left out."""
        named = {"heads": heads, "neurons": neurons, "attention": attention, "ffn": ffn, "layers": layers, **others}
        by_kind = {kind: values for kind, values in named.items() if values is not None}
        object.__setattr__(self, "by_kind", by_kind)

    @property
    def heads(self) -> tuple[np.ndarray, ...] | None:
        return self._by_row("heads")

    @property
    def neurons(self) -> tuple[np.ndarray, ...] | None:
        return self._by_row("neurons")

    @property
    def attention(self) -> np.ndarray | None:
        return self._whole("attention")

    @property
    def ffn(self) -> np.ndarray | None:
        return self._whole("ffn")

    @property
    def layers(self) -> np.ndarray | None:
        return self._whole("layers")

    def _by_row(self, kind: str) -> tuple[np.ndarray, ...] | None:
        values = self.by_kind.get(kind)
        assert values is None or isinstance(values, tuple)
        return values

    def _whole(self, kind: str) -> np.ndarray | None:
        values = self.by_kind.get(kind)
        assert not isinstance(values, tuple)
        return values

    def arrays(self) -> dict[str, np.ndarray]:
        """Flat names ("heads.0", "layers") to arrays: the form on disk."""
        flat: dict[str, np.ndarray] = {}
        for kind, values in self.by_kind.items():
            if isinstance(values, tuple):
                flat |= {f"{kind}.{row}": of_row for row, of_row in enumerate(values)}
            else:
                flat[kind] = values
        return flat

    @staticmethod
    def from_arrays(flat: Mapping[str, np.ndarray]) -> PartValues:
        """Raises: KeyError where a row is missing."""
        rows = Counter(kind for kind, dot, _ in (name.partition(".") for name in flat) if dot)
        split: dict[str, Any] = {kind: tuple(flat[f"{kind}.{row}"] for row in range(n)) for kind, n in rows.items()}
        return PartValues(**split | {name: values for name, values in flat.items() if "." not in name})


@dataclass(frozen=True)
class Scores:
    """How much each part contributes, by one method on one task. Higher = contributes more = keep.

    labels: "none" (representation and weight methods), "gold", "sampled" or "argmax" (the model's own).
    low, high: the ends of a 95 % interval over examples, where the method has one.
    similarity: (L+1, L+1), ASC's matrix over the embedding output and each layer's output, where the method has one.
    details: further named arrays of a method, described there. texts: fingerprint of those it was made from, see
    `scores.data_fingerprint`; "" where none were needed, or by an earlier version.
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
