"""How much each part of an encoder contributes, and the arrays that this is stored as."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from asc_core.values.plan import Provenance
from asc_core.values.shape import Shape
from asc_core.values.shown import heat_map, html_table, html_titled

if TYPE_CHECKING:
    import pandas

ByKind = tuple[np.ndarray, ...] | np.ndarray
MOST_CELLS = 1024  # of a heat map in a notebook


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

    def each(self) -> Iterator[tuple[str, int, int | None, float]]:
        """(kind, row or layer, number within it, value) of every part, counted from 0 as in plans.

        The number is None where there is one part of the kind for each row or layer.
        """
        for kind, values in self.by_kind.items():
            for place, found in enumerate(values):
                if isinstance(values, tuple):
                    yield from ((kind, place, number, float(value)) for number, value in enumerate(found))
                else:
                    yield kind, place, None, float(found)

    def summary(self) -> Iterator[tuple[str, int, float, float, float]]:
        """(kind, how many, lowest, median, highest) of each kind of part."""
        for kind, values in self.by_kind.items():
            flat = np.concatenate(values) if isinstance(values, tuple) and values else np.asarray(values)
            if flat.size:
                yield kind, flat.size, float(flat.min()), float(np.median(flat)), float(flat.max())

    def __repr__(self) -> str:
        return f"PartValues({self._counts()})"

    def _counts(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count, *_ in self.summary()) or "nothing"


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

    def rows(self, kinds: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """One row a part: kind, layer, index (both counted from 0, as in plans), score, and where there are intervals
        low and high.

        kinds: of parts, such as "heads"; all by default. layer: in an encoder whose layers share weights, the number of
        the set of weights, except for the kind "layers". index: the head's or neuron's number, None for what is there
        once a layer.
        """
        ends = [None if values is None else _by_place(values) for values in (self.low, self.high)]
        found = []
        for kind, place, number, value in self.values.each():
            if kinds is None or kind in kinds:
                row = {"kind": kind, "layer": place, "index": number, "score": value}
                for name, known in zip(("low", "high"), ends, strict=True):
                    if known is not None:
                        row[name] = known.get((kind, place, number))
                found.append(row)
        return found

    def to_frame(self, kinds: Sequence[str] | None = None) -> pandas.DataFrame:
        """`rows` as a pandas DataFrame."""
        import pandas

        frame = pandas.DataFrame(self.rows(kinds), columns=["kind", "layer", "index", "score", *self._ends])
        return frame.astype({"index": "Int64", **dict.fromkeys(("score", *self._ends), float)})

    @property
    def _ends(self) -> tuple[str, ...]:
        return tuple(name for name in ("low", "high") if getattr(self, name) is not None)

    @property
    def _seen(self) -> str:
        return f"{self.examples:,} {self.split} examples, labels: {self.labels}" if self.examples else "no texts"

    def __repr__(self) -> str:
        return f"Scores({self.method} on {self.task}: {self.values._counts()}; {self._seen})"

    def _repr_html_(self) -> str:
        found = [html_table(("parts", "how many", "lowest", "median", "highest"), self.values.summary())]
        heads = self.values.heads
        if heads is not None and sum(map(len, heads)) <= MOST_CELLS:
            found.append(heat_map(heads, "heads: a line a layer"))
        return html_titled(f"{self.method} on {self.task}: {self._seen}", *found, notes=[self.notes])

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


def _by_place(values: PartValues) -> dict[tuple[str, int, int | None], float]:
    return {(kind, place, number): value for kind, place, number, value in values.each()}


_SCORES_METADATA = ("method", "weights", "task", "split", "examples", "seed", "labels", "notes", "texts")
