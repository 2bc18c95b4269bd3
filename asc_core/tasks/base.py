"""What an application is to the engine: texts, labels, a loss and a metric.

The engine never looks inside a task. It asks for examples of a split, tokenised features, batches, a loss for each
feature, small predictions that may be kept, and from these the statistics of each example whose sum is the metric.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from asc_core.sentences import Sentences

Targets = Literal["gold", "sampled", "argmax"]
Row = Mapping[str, Any]


class Reader(Protocol):
    """All that a task needs of a model: whatever reads token ids and answers can be evaluated, an `Encoder` or not.

    name, source: for messages. tokenizer: as transformers has it, None where there is none. head: as in `Task`.
    labels, slot_labels: names of its outputs, in their order. max_length: tokens that fit, special ones included.
    type_vocab_size: how many texts of one input it tells apart by token types, 0 where it takes none. tokens: how many
    it has embeddings for. sentences: how it makes one vector of a text, None where nothing says so. device: where its
    inputs are put.
    """

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def head(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def slot_labels(self) -> tuple[str, ...]: ...

    @property
    def max_length(self) -> int: ...

    @property
    def type_vocab_size(self) -> int: ...

    @property
    def tokens(self) -> int: ...

    @property
    def sentences(self) -> Sentences | None: ...

    @property
    def device(self) -> torch.device: ...

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        """The head's output for `Batch.inputs`: an object with `logits`, `last_hidden_state`, ..., as transformers'."""


@dataclass(frozen=True)
class Metric:
    """A number from the statistics of examples.

    from_sums(sums): sums (..., k) over examples -> (...,); vectorised, so that a bootstrap is one matrix product.
    from_rows(statistics): (n, k) -> float, for metrics that are no function of sums (rank correlations). Exactly one
    of the two is given. `columns` names the k statistics.
    binary: the statistics are one 0/1 column and the metric their mean (accuracy): closed-form intervals apply.
    bounds: the lowest and the highest value that it can have: no interval goes beyond.
    """

    name: str
    columns: tuple[str, ...]
    from_sums: Callable[[np.ndarray], np.ndarray] | None = None
    from_rows: Callable[[np.ndarray], float] | None = None
    binary: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)

    def value(self, statistics: np.ndarray) -> float:
        """statistics: (n, k), n >= 1."""
        if self.from_rows is not None:
            return float(self.from_rows(statistics))
        assert self.from_sums is not None
        return float(self.from_sums(statistics.sum(0)))


@dataclass(frozen=True)
class Examples:
    """Labelled (or not) examples of one split, in the file's order unless a sample was drawn by seed.

    numbers: (n,) position of each example in its split, the key of stored per-example results. notes: sentences for
    the user on what had to be guessed while reading them, and on what is odd about them.
    """

    rows: Sequence[Row]
    split: str
    numbers: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: Sequence[int] | np.ndarray) -> Examples:
        return Examples(
            [self.rows[i] for i in indices], self.split, self.numbers[np.asarray(indices, dtype=int)], self.notes
        )


@dataclass(frozen=True)
class Features:
    """Tokenised examples. One example gives one feature, or several in question answering (strided windows).

    input_ids: one int32 array a feature, without padding; token_types likewise or None.
    example: (features,) index into the Examples they were made from, ascending.
    targets: one entry a feature, what the task's `batch` turns into labels; None where there are no labels.
    extra: whatever else the task needs, one entry a feature in each list (offsets of tokens, word starts, ...).
    truncated: how many examples lost text to `max_length`.
    notes: sentences for the user: those of the examples, and what else had to be guessed, such as that classes were
    matched by position because the model does not name them.
    """

    input_ids: Sequence[np.ndarray]
    token_types: Sequence[np.ndarray] | None
    example: np.ndarray
    targets: Sequence[Any] | None
    truncated: int = 0
    extra: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> np.ndarray:
        """(features,) tokens of each feature, padding not counted."""
        return np.fromiter((len(ids) for ids in self.input_ids), dtype=np.int64, count=len(self))

    def remarks(self, examples: int) -> str:
        """All that a user should know of how this many examples were read and tokenised, in sentences."""
        said = list(self.notes)
        if self.truncated:
            said.append(f"{self.truncated} of {examples} examples were truncated.")
        if len(self) != examples:
            said.append(f"{len(self)} windows of {examples} examples, each counted as one.")
        return " ".join(said)

    def of_examples(self, indices: np.ndarray) -> Features:
        """The features of some examples, whose `example` then counts within `indices`."""
        position = {int(e): i for i, e in enumerate(indices)}
        rows = [f for f, e in enumerate(self.example) if int(e) in position]
        rows.sort(key=lambda f: (position[int(self.example[f])], f))
        return Features(
            [self.input_ids[f] for f in rows],
            None if self.token_types is None else [self.token_types[f] for f in rows],
            np.asarray([position[int(self.example[f])] for f in rows], dtype=np.int64),
            None if self.targets is None else [self.targets[f] for f in rows],
            self.truncated,
            {k: [v[f] for f in rows] for k, v in self.extra.items()},
            self.notes,
        )


@dataclass(frozen=True)
class Batch:
    """Features, padded to the longest of them and ready for the model.

    inputs go to the model as keyword arguments (input_ids, attention_mask, token_type_ids; (rows, T) each).
    rows_per_feature: rows of `inputs` that belong to one feature, next to each other: 1, but 2 in sentence similarity,
    where a feature is two texts that are encoded apart. Whatever is computed for each row (gradients of gates) is for
    feature i the sum over rows i * rows_per_feature ... (i + 1) * rows_per_feature - 1; `Task.loss` and `predict`
    have one entry a feature.
    """

    inputs: dict[str, torch.Tensor]
    targets: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    rows_per_feature: int = 1

    @property
    def mask(self) -> torch.Tensor:
        """(rows, T), 1 where a token is real."""
        return self.inputs["attention_mask"]


class Task(ABC):
    """One application. Subclasses: one file a family in this package.

    name: short, unique in a study. kind: the `kind` of the task file. head: which head the model needs, one of
    "sequence-classification", "token-classification", "question-answering", "intent-slots", "embedding".
    labels: class names in the order of the model's outputs, () where there are none (regression, QA). slot_labels:
    the BIO tags of intent-slots.
    labelled: whether examples carry gold labels; where not, the metric is agreement with the original model.
    definition: the content of the task file or preset that it was made of; None where there is none.
    """

    name: str
    kind: str
    head: str
    labels: tuple[str, ...] = ()
    slot_labels: tuple[str, ...] = ()
    labelled: bool = True
    max_length: int
    metric: Metric
    definition: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        labelled = "" if self.labelled else ", without labels"
        return f"Task({self.name}: {self.kind}{labelled}; splits: {', '.join(self.splits)})"

    @property
    def source(self) -> str:
        """What `load_task` makes it from: a name, or a task file's."""
        return self.name

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits there are, such as ("train", "validation", "test")."""

    @property
    def training_split(self) -> str:
        """What models are made by, and counted on: train, or the first split where there is none."""
        return "train" if "train" in self.splits else self.splits[0]

    @abstractmethod
    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Examples:
        """Examples of a split; with `limit`, a sample drawn without replacement by `seed`.

        Raises: UserError where the split is missing or empty, or a row is bad (names file, row and field).
        """

    def digest(self, split: str, limit: int | None = None, seed: int = 0) -> str:
        """Fingerprint of a split's examples, in their order, and of how they are read: results belong to these, not to
        a file's name. limit, seed: see `examples`.

        Raises: UserError as `examples` does.
        """
        known, asked = vars(self).setdefault("_digests", {}), (split, limit, seed)
        if asked not in known:
            content = hashlib.blake2b(json.dumps(self._reading(), default=str).encode(), digest_size=8)
            for row in self.examples(*asked).rows:
                content.update(json.dumps(dict(row), sort_keys=True, default=str).encode())
            known[asked] = content.hexdigest()
        return known[asked]

    def data(self, split: str) -> str:
        """Fingerprint of all that results on a split come of: its examples, and those that cuts are made by.

        Raises: UserError as `examples` does.
        """
        return ":".join(self.digest(one) for one in dict.fromkeys([split, "train"]) if one in self.splits)

    def _reading(self) -> Any:
        """What decides tokens, labels and metric besides the rows, as JSON."""
        return [self.kind, self.max_length, self.metric.name]

    def classes_of(self, row: Row) -> Sequence[str]:
        """Names of the gold classes of an example (one, or several tags); () where it has none."""
        return ()

    @abstractmethod
    def features(self, examples: Examples, reader: Reader) -> Features:
        """Tokenise. Raises: UserError where the task's labels and the model's `id2label` do not match (shows both)."""

    @abstractmethod
    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        """Pad some features to the longest of them, on the reader's device."""

    @abstractmethod
    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """(B,) the loss of each feature.

        targets: the gold labels, labels drawn from the model's own distribution, or its argmax. (The model's own
        soft outputs as targets would give zero gradients at the unpruned model.)
        """

    @abstractmethod
    def predict(self, output: Any, batch: Batch) -> list[Any]:
        """One small NumPy array (or tuple of arrays) a feature: all that `statistics` needs, nothing on a device."""

    @abstractmethod
    def statistics(
        self, predictions: Sequence[Any], features: Features, examples: Examples, reference: Sequence[Any] | None = None
    ) -> np.ndarray:
        """(examples, k) float64 for `metric`. predictions: one a feature, of all features of these examples.

        reference: the original model's predictions on the same features; needed where `labelled` is False.
        """

    def doubts(self, predictions: Sequence[Any], features: Features) -> tuple[str, ...]:
        """Sentences on what makes these predictions look as if data or order of classes were wrong; see `doubts`.

        predictions: one a feature.
        """
        return ()
