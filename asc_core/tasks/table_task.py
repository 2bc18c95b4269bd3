"""What all tasks over tables of rows share: their splits, samples, labels and targets."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from asc_core.errors import UserError
from asc_core.tasks import tokens
from asc_core.tasks.base import Examples, Features, Metric, Reader, Row, Targets, Task
from asc_core.tasks.labels import HIDDEN, LabelSet, Match, as_text, is_hidden, is_scalar, match, show
from asc_core.tasks.metrics import Measure, check_offered
from asc_core.tasks.oddities import Oddities, oddities, text_key
from asc_core.tasks.own_metric import Decides, OwnMetric, measure_of, source_of
from asc_core.tasks.sources import Table
from asc_core.tasks.splits import Splits

Labels = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class Setup:
    """What a task file says. texts, label, slots: names of columns; label None = agreement with the original.

    origin: the task file, for messages. The other fields have their meaning in the task file's documentation.
    """

    name: str
    kind: str
    origin: str
    texts: tuple[str, ...]
    label: str | tuple[str, ...] | None = None
    slots: str | None = None
    labels: Labels | None = None
    slot_labels: Labels | None = None
    metric: str | None = None
    positive: str | None = None
    max_length: int | None = None
    stride: int | None = None
    no_answer: bool | None = None
    answer_tokens: int | None = None
    separator: str = ","
    words: str | None = None


class TableTask(Task):
    """A task over tables. Subclasses say how a row becomes tokens, loss and decision."""

    default_length = 512
    decides: Decides = "one by one"
    own_metric: OwnMetric | None = None

    def __init__(self, setup: Setup, splits: Splits):
        self.setup = setup
        self.name = setup.name
        self.kind = setup.kind
        self.labelled = setup.label is not None and setup.metric != "agreement"
        self.max_length = setup.max_length or self.default_length
        self._splits = splits
        if self.labelled:
            check_offered(setup.metric, self._measures(), setup.kind, setup.origin)

    @property
    def source(self) -> str:
        """A file by its name alone: its folder is nobody else's."""
        origin = self.setup.origin
        return Path(origin).name if origin.endswith(".toml") else origin

    @property
    def splits(self) -> tuple[str, ...]:
        return self._splits.names

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Examples:
        split = self._splits.resolve(split)
        table = self._splits.table(split)
        numbers = np.arange(len(table))
        if limit is not None and limit < len(table):
            numbers = np.random.default_rng(seed).permutation(len(table))[:limit]
        missing = [c for c in self._columns if c not in table.columns]
        if missing:
            self._refuse_without(table, split, missing[0])
        rows: list[Row] = []
        said: Counter[str] = Counter()
        for number in numbers:
            try:
                row, how = self._read(table.rows[int(number)])
                self._check(row)
            except _BadRow as error:
                raise UserError(f"{table.where(int(number))}: {error}") from None
            rows.append(row)
            said.update(how)
        counted = [f"{table.origin}: {what} ({n} of {len(rows)} examples)." for what, n in said.items()]
        odd = self._odd(rows, split, numbers)
        return Examples(rows, split, numbers, (*table.notes, *counted, *odd.sentences))

    def oddities(self, examples: Examples) -> Oddities:
        """What `examples` says of duplicates and their like, in numbers."""
        return self._odd(examples.rows, examples.split, examples.numbers)

    def _odd(self, rows: Sequence[Row], split: str, numbers: np.ndarray) -> Oddities:
        table = self._splits.table(split)
        return oddities(
            rows,
            lambda i: table.where(int(numbers[i])),
            self.setup.texts,
            self._shown_labels(rows),
            self._train_keys(split),
        )

    def label_counts(self, examples: Examples) -> dict[str, int] | None:
        """How often each label occurs, the most frequent first; None where labels are numbers, or there are none."""
        if not self.labelled or self.decides == "numbers":
            return None
        counts = Counter(name for row in examples.rows for name in self._names_of(row))
        return dict(counts.most_common())

    def classes_of(self, row: Row) -> Sequence[str]:
        return self._names_of(row) if self.labelled and self.decides != "numbers" else ()

    def _names_of(self, row: Row) -> Sequence[str]:
        """The labels of a row."""
        return ()

    def label_numbers(self, examples: Examples) -> list[float] | None:
        """The labels of a task whose labels are numbers."""
        if not self.labelled or self.decides != "numbers":
            return None
        return [check_number(row, str(self.setup.label)) for row in examples.rows]

    def matches(self, reader: Reader) -> dict[str, str]:
        """Each of the task's labels -> the model's output for it. Raises: UserError where they do not match."""
        found: dict[str, str] = {}
        for labels, names, what in self._label_sets(reader) if self.labelled else ():
            to_model = self._match(labels, names, reader, what).to_model
            found |= {ours: names[int(output)] for ours, output in zip(labels.names, to_model, strict=True)}
        return found

    def _label_sets(self, reader: Reader) -> Sequence[tuple[LabelSet, Sequence[str], str]]:
        """(the task's labels, the model's names of outputs, what they are called) of each set of labels there is."""
        return ()

    def _refuse_without(self, table: Table, split: str, column: str) -> NoReturn:
        others = [name for name, other in self._splits.given().items() if column in other.columns]
        if column == self.setup.label and others:
            raise UserError(
                f"{table.origin} has no column {column!r}, so the {split} split of {self.name} has no labels: choose "
                f"another (--split {others[0]}), or add the column."
            )
        table.column(column)
        raise AssertionError(column)

    def _train_keys(self, split: str) -> set[int] | None:
        """Of the texts in train; None where this is train or cut from it, or where train was not read yet."""
        table, texts = self._splits.read_train(), self.setup.texts
        if table is None or not self._splits.is_given(split) or split == "train" or not {*texts} <= {*table.columns}:
            return None
        return self._keys_of_train

    @cached_property
    def _keys_of_train(self) -> set[int]:
        table, texts = self._splits.read_train(), self.setup.texts
        assert table is not None
        columns = [table.column(column) for column in texts]
        return {text_key(dict(zip(texts, cells, strict=True)), texts) for cells in zip(*columns, strict=True)}

    def _shown_labels(self, rows: Sequence[Row]) -> list[str] | None:
        """The label of each example as text, where an example has one."""
        column = self.setup.label
        if not self.labelled or not isinstance(column, str):
            return None
        return [as_text(row.get(column)) for row in rows]

    def _read(self, row: Row) -> tuple[Row, Sequence[str]]:
        """(the row with its cells in the form that this kind works with, what had to be guessed for that).

        Raises: _BadRow.
        """
        return row, ()

    def _reading(self) -> Any:
        said = asdict(replace(self.setup, name="", origin=""))
        return said if self.own_metric is None else said | {"own_metric": source_of(self.own_metric)}

    def with_metric(self, metric: OwnMetric) -> TableTask:
        """The same task under a metric of one's own, see `own_metric`. Raises: UserError where it has no labels."""
        if not self.labelled:
            raise UserError(f"{self.name} has no labels: its metric is agreement with the original, and no other.")
        changed = copy.copy(self)
        for computed in ("_measure", "metric", "_digests"):
            vars(changed).pop(computed, None)
        changed.own_metric = metric
        return changed

    def measured_by(self, name: str) -> TableTask:
        """The same task under another metric of its kind. Raises: UserError where it has none of that name."""
        check_offered(name, self._measures(), self.setup.kind, self.setup.origin)
        changed = copy.copy(self)
        for computed in ("_measure", "metric", "_digests"):
            vars(changed).pop(computed, None)
        changed.setup = replace(self.setup, metric=name)
        changed.own_metric = None
        return changed

    @property
    def _columns(self) -> tuple[str, ...]:
        """Columns that every row must have."""
        label = self.setup.label if self.labelled else None
        return (*self.setup.texts, *((label,) if isinstance(label, str) else label or ()))

    @abstractmethod
    def _check(self, row: Row) -> None:
        """Raises: _BadRow with what is wrong and what to do."""

    @cached_property
    def _measure(self) -> Measure:
        if not self.labelled:
            return self._agreement()
        if self.own_metric is not None:
            return measure_of(self.own_metric, self.decides, len(self.labels) if self.decides == "sets" else 1)
        offered = self._measures()
        return offered[self.setup.metric or next(iter(offered))]()

    @abstractmethod
    def _measures(self) -> dict[str, Callable[[], Measure]]:
        """The metrics there are for this kind, the default one first."""

    @abstractmethod
    def _agreement(self) -> Measure:
        """How far decisions agree with the original's."""

    @cached_property
    def metric(self) -> Metric:  # type: ignore[override]
        return self._measure.metric

    def statistics(
        self, predictions: Sequence[Any], features: Features, examples: Examples, reference: Sequence[Any] | None = None
    ) -> np.ndarray:
        decided = self._decide(predictions, features, examples)
        if self.labelled:
            gold = self._gold(features, examples)
        elif reference is not None:
            gold = self._as_gold(self._decide(reference, features, examples))
        else:
            raise UserError(
                f"The task {self.name} has no labels, so quality is agreement with the original model: say which "
                "one that is (`--against ORIGINAL`)."
            )
        return self._measure.statistics(decided, gold).astype(np.float64, copy=False)

    @abstractmethod
    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> Any:
        """What the predictions say of each example, in the form that the measure takes."""

    @abstractmethod
    def _gold(self, features: Features, examples: Examples) -> Any:
        """What is right for each example, in the same form."""

    def _as_gold(self, decided: Any) -> Any:
        """The original's decisions in the form of gold labels."""
        return decided

    def _require_readable(
        self,
        reader: Reader,
        examples: Examples,
        ids: Sequence[np.ndarray],
        types: Sequence[np.ndarray] | None = None,
        example: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        """example: of each feature, by default one each. Raises: UserError with the first row of which a token is too
        much for the model.
        """
        found = tokens.beyond(reader, ids, types)
        if found is not None:
            feature, why = found
            number = int(feature if example is None else example[feature])
            raise UserError(f"{self._place(examples, number)}: {why}")

    def _place(self, examples: Examples, number: int) -> str:
        """Where an example stands in its file; its text where it comes from a mixture of tasks."""
        row, line = examples.rows[number], int(examples.numbers[number])
        if examples.split in self.splits:
            table = self._splits.table(examples.split)
            if line < len(table) and all(table.rows[line].get(c) == row.get(c) for c in self.setup.texts):
                return table.where(line)
        return f"{self.name}, {str(row.get(self.setup.texts[0]))[:60]!r}"

    def token_limit(self, reader: Reader) -> int:
        """Tokens of a text at most. Raises: UserError where the task asks for more than the encoder takes."""
        return tokens.length_limit(self.setup.max_length, self.default_length, reader, self.name)

    def _values(self, column: str) -> Iterable[Any]:
        """Of all splits that have the column: one without labels (a public test set) says nothing about them."""
        tables = self._splits.given_tables()
        for table in [table for table in tables if column in table.columns] or tables:
            yield from table.column(column)

    def _label_set(self, column: str, declared: Labels | None, values: Callable[[], Iterable[Any]]) -> LabelSet:
        """Declared by the task file, else by the dataset, else all that occur in any split.

        Raises: UserError where all of them are hidden.
        """
        if declared is not None:
            return LabelSet.declare(declared)
        first = self._splits.given_tables()[0]
        if column in first.class_names:
            return LabelSet.declare(first.class_names[column])
        hidden = self._hidden(column)
        found = LabelSet.discover(value for value in values() if not (hidden and is_hidden(value)))
        if found.names == (HIDDEN,):
            raise UserError(f"{self.name}: all labels in {column!r} are -1, which stands for hidden ones: add some.")
        return replace(found, note=hidden)

    def _hidden(self, column: str) -> str:
        """What is to be said of labels that are hidden (-1, as in public test sets), "" where none are.

        Where train has -1, it is a class; without train it is one, too, unless a split has nothing else and another has
        none.
        """
        counts: dict[str, tuple[int, int]] = {}
        tables = self._splits.given()
        for split, table in tables.items():
            if column in table.columns:
                counts[split] = (sum(map(is_hidden, table.column(column))), len(table))
        none = [split for split, (hidden, _) in counts.items() if not hidden]
        some = [split for split, (hidden, rows) in counts.items() if hidden and ("train" in counts or hidden == rows)]
        if not some or not none or ("train" in counts and "train" not in none):
            return ""
        return " ".join(
            f"{tables[split].origin}: the label -1 ({counts[split][0]} of {counts[split][1]} rows) was taken for a "
            "hidden one, and is no class."
            for split in some
        )

    def _match(
        self,
        labels: LabelSet,
        model_names: Sequence[str],
        reader: Reader,
        what: str = "label",
        values: Iterable[Any] = (),
    ) -> Match:
        """values: the labels as the rows have them."""
        self._need_head(reader)
        found = match(labels, model_names, self.name, reader.name, what)
        said = (labels.note, labels.read_otherwise(values), found.note)
        return replace(found, note=" ".join(note for note in said if note))

    def _need_head(self, reader: Reader) -> None:
        if reader.head != self.head:
            raise UserError(
                f"{reader.name} has no head for {self.head} ({_instead(reader.head)}): fine-tune it on the task "
                f"{self.name} (asc finetune), or take a model that was fine-tuned for such a task."
            )

    def _need_labels(self, targets: Targets) -> None:
        if targets == "gold" and not self.labelled:
            raise UserError(
                f"The task {self.name} has no labels; score with the model's own (sampled or argmax) instead."
            )


def _instead(head: str) -> str:
    """What a checkpoint has in place of the head that a task needs."""
    return "it is a bare encoder or a language model" if head == "embedding" else f"its head is for {head}"


class _BadRow(Exception):
    """What is wrong with a row; whoever catches it knows where the row stands."""


def check_text(row: Row, column: str) -> None:
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        is_empty = text is None or isinstance(text, float) or (isinstance(text, str) and not text.strip())
        found = "is empty" if is_empty else f"holds {_brief(text)}, not text"
        raise _BadRow(f"the field {column!r} {found}; fill it in or remove the row.")
    if not text.isascii():
        check_whole(text, column)


def check_whole(text: str, column: str) -> None:
    """Half of a surrogate pair is no character, and no tokenizer takes it. Raises: _BadRow."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _BadRow(
            f"the field {column!r} holds half a character ({text[error.start]!a}, as a cut emoji leaves it) at "
            f"position {error.start}; remove it."
        ) from None


def check_words(row: Row, column: str) -> None:
    words = row.get(column)
    if isinstance(words, str) or not isinstance(words, Sequence) or not all(isinstance(w, str) for w in words):
        raise _BadRow(f"the field {column!r} holds {_brief(words)}, not a list of words; give one list a row.")
    if not words or not all(w.strip() for w in words):
        raise _BadRow(
            f"the field {column!r} {'is empty' if not words else 'has an empty word'}; fill it or remove the row."
        )
    check_whole(" ".join(words), column)


def check_label(labels: LabelSet, value: Any, column: str) -> int:
    if not is_scalar(value):
        raise _BadRow(
            f"the field {column!r} holds {_brief(value)}, not one label; name the field inside it, or correct it."
        )
    index = labels.index(value)
    if index is None and not as_text(value):
        raise _BadRow(
            f"the field {column!r} is empty; fill it in, remove the row, or leave such rows out with "
            f'drop = {{ {column} = [""] }} under [data].'
        )
    if index is None and is_hidden(value):
        raise _BadRow(
            f"the field {column!r} holds -1, which stands for a hidden label; choose another split, or leave such rows "
            f"out with drop = {{ {column} = [-1] }} under [data]."
        )
    if index is None:
        raise _BadRow(
            f"the field {column!r} holds {_brief(value)}, which is none of the task's labels {show(labels.names)}; "
            "correct it, or add it under [labels] in the task file."
        )
    return index


def as_number(value: Any) -> float:
    """NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def check_number(row: Row, column: str) -> float:
    number = as_number(row.get(column))
    if not np.isfinite(number):
        raise _BadRow(f"the field {column!r} holds {_brief(row.get(column))}, not a number; correct it.")
    return number


def bad_row(message: str) -> Exception:
    return _BadRow(message)


def _brief(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def output_of(output: Any, name: str, task: Task) -> torch.Tensor:
    """One tensor of a model's output. Raises: UserError where the model's head does not give it."""
    tensor = getattr(output, name, None)
    if tensor is None:
        raise UserError(
            f"The model gives no {name}: the task {task.name} ({task.kind}) needs a {task.head} head; use a checkpoint "
            "that was fine-tuned for it, or fine-tune this one with `asc finetune`."
        )
    return tensor


def class_targets(
    logits: torch.Tensor, gold: torch.Tensor | None, targets: Targets, generator: torch.Generator | None
) -> torch.Tensor:
    """logits (n, C) -> (n,) class indices: gold, drawn from softmax(logits), or the most likely.

    Draws are made on the CPU, so that one seed gives the same labels on every device.
    """
    if targets == "gold":
        assert gold is not None
        return gold
    if targets == "argmax":
        return logits.detach().argmax(-1)
    if not len(logits):
        return torch.zeros(0, dtype=torch.long, device=logits.device)
    probabilities = torch.softmax(logits.detach().float().cpu(), -1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1).to(logits.device)


def number_targets(
    values: torch.Tensor, gold: torch.Tensor | None, targets: Targets, generator: torch.Generator | None
) -> torch.Tensor:
    """values (n,) -> (n,) target numbers, for a squared error read as a Gaussian of unit variance.

    sampled: drawn around the model's own output. argmax: the output itself would make every gradient zero, so the
    target is one standard deviation above it, which makes the gradient that of the output, up to a factor.
    """
    if targets == "gold":
        assert gold is not None
        return gold
    own = values.detach()
    if targets == "argmax":
        return own + 1
    return own + torch.randn(own.shape, generator=generator).to(own)
