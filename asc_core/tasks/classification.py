"""Classes, sets of labels and numbers for a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from asc_core.errors import UserError
from asc_core.tasks import metrics, tokens
from asc_core.tasks.base import Batch, Examples, Features, Reader, Row, Targets
from asc_core.tasks.cells import unpacked
from asc_core.tasks.doubts import doubts_of_classes, doubts_of_flags, doubts_of_numbers
from asc_core.tasks.labels import LabelSet, as_flag, as_key, as_text, flags_read_otherwise, is_scalar, show
from asc_core.tasks.metrics import Measure
from asc_core.tasks.table_task import (
    TableTask,
    bad_row,
    check_label,
    check_number,
    check_text,
    class_targets,
    number_targets,
    output_of,
)


class TextTask(TableTask):
    """One text or a pair of texts, one feature an example, `logits` (B, C) from the model."""

    head = "sequence-classification"

    def _check(self, row: Row) -> None:
        for column in self.setup.texts:
            check_text(row, column)
        if self.labelled:
            self._target(row)

    def _target(self, row: Row) -> Any:
        """The gold label of a row, in the task's order of classes. Raises: _BadRow."""
        raise NotImplementedError

    def _targets_for(self, reader: Reader, examples: Examples) -> tuple[list[Any], dict[str, list[Any]], str]:
        """(targets in the model's order of classes, extra, note)"""
        raise NotImplementedError

    def features(self, examples: Examples, reader: Reader) -> Features:
        limit = self.token_limit(reader)
        columns = [[row[c] for row in examples.rows] for c in self.setup.texts]
        targets, extra, note = self._targets_for(reader, examples) if self.labelled else (None, {}, "")
        ids, types, cut = tokens.tokenise(reader, columns[0], columns[1] if len(columns) > 1 else None, limit)
        self._require_readable(reader, examples, ids, types)
        unknown = tokens.unknown(reader, ids, [text for column in columns for text in column[:50]])
        notes = (*examples.notes, *([note] if note else []), *unknown)
        return Features(ids, types, np.arange(len(ids)), targets, len(cut), extra, notes)

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        targets = None
        if features.targets is not None:
            targets = torch.as_tensor(np.asarray([features.targets[i] for i in rows])).to(reader.device)
        return Batch(tokens.feature_inputs(features, rows, reader), targets)

    def predict(self, output: Any, batch: Batch) -> list[Any]:
        """The logits of each feature, (C,) float32."""
        return list(output_of(output, "logits", self).detach().float().cpu().numpy())


class Classification(TextTask):
    """text-classification and pair-classification: one class an example."""

    decides = "classes"

    @cached_property
    def _label_names(self) -> LabelSet:
        column = str(self.setup.label)
        return self._label_set(column, self.setup.labels, lambda: self._values(column))

    @property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._label_names.names if self.labelled else ()

    def _target(self, row: Row) -> int:
        column = str(self.setup.label)
        return check_label(self._label_names, row.get(column), column)

    def _names_of(self, row: Row) -> Sequence[str]:
        return (self.labels[self._target(row)],)

    def _label_sets(self, reader: Reader) -> Sequence[tuple[LabelSet, Sequence[str], str]]:
        return ((self._label_names, reader.labels, "label"),)

    def _targets_for(self, reader: Reader, examples: Examples) -> tuple[list[Any], dict[str, list[Any]], str]:
        values = [row.get(str(self.setup.label)) for row in examples.rows]
        match = self._match(self._label_names, reader.labels, reader, values=values)
        targets = [int(match.to_model[self._target(row)]) for row in examples.rows]
        return targets, {"to_task": [match.to_task] * len(targets)}, match.note

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        self._need_labels(targets)
        logits = output_of(output, "logits", self)
        wanted = class_targets(logits, batch.targets, targets, generator)
        return functional.cross_entropy(logits.float(), wanted, reduction="none")

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        return {
            "accuracy": metrics.accuracy,
            "macro-f1": lambda: metrics.macro_f1(len(self.labels)),
            "f1": lambda: metrics.binary_f1(self._positive),
            "mcc": lambda: metrics.mcc(len(self.labels)),
        }

    def _agreement(self) -> Measure:
        return metrics.accuracy("agreement")

    def doubts(self, predictions: Sequence[Any], features: Features) -> tuple[str, ...]:
        if features.targets is None:
            return ()
        logits = np.stack(list(predictions))
        to_task = features.extra["to_task"][0]
        names = [self.labels[to_task[o]] if o in to_task else f"output {o}" for o in range(logits.shape[1])]
        return tuple(doubts_of_classes(logits.argmax(1), np.asarray(features.targets), names))

    @property
    def _positive(self) -> int:
        if self.setup.positive is not None:
            index = self._label_names.index(self.setup.positive)
            if index is None:
                raise UserError(
                    f"{self.setup.origin}: positive = {self.setup.positive!r} is no label: {show(self.labels)}."
                )
            return index
        if len(self.labels) != 2:
            raise UserError(
                f"{self.setup.origin}: metric f1 is that of one class and there are {len(self.labels)}: name it with "
                "`positive`, or use macro-f1."
            )
        return 1

    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> np.ndarray:
        outputs = np.asarray([int(np.argmax(p)) for p in predictions])
        if not self.labelled:
            return outputs
        to_task = features.extra["to_task"][0]
        return np.asarray([to_task.get(int(o), -1) for o in outputs])  # -1: a class that the task does not have

    def _gold(self, features: Features, examples: Examples) -> np.ndarray:
        assert features.targets is not None
        to_task = features.extra["to_task"][0]
        return np.asarray([to_task[int(t)] for t in features.targets])


class MultiLabel(TextTask):
    """Any number of labels an example, each decided for itself (sigmoid, threshold one half).

    The label field holds a list of names, text with a separator between names, or a 0/1 flag for each label; or
    `label` names several 0/1 columns, one a label.
    """

    decides = "sets"

    @cached_property
    def _label_names(self) -> LabelSet:
        column = self.setup.label
        if isinstance(column, tuple):
            declared = self.setup.labels
            return LabelSet.declare(declared if isinstance(declared, dict) else declared or column)
        if self._flags and self.setup.labels is None and column not in self._splits.given_tables()[0].class_names:
            return LabelSet(tuple(map(str, range(self._flags))), indices=True)
        return self._label_set(
            str(column), self.setup.labels, lambda: (n for v in self._values(str(column)) for n in self._names(v))
        )

    @cached_property
    def _flags(self) -> int:
        """How many labels the lists in the label field have a 0 or 1 for, 0 where these are lists of names.

        As many entries in every row, all of them 0 or 1: as lists of class numbers that would say next to nothing.
        """
        if isinstance(self.setup.label, tuple):
            return 0
        declared = None if self.setup.labels is None else len(LabelSet.declare(self.setup.labels))
        length, certain = 0, False
        for value in self._values(str(self.setup.label)):
            entries = list(self._names(value)) if value is not None else []
            length = length or len(entries)
            flags = [as_key(as_text(entry)) if is_scalar(entry) else "" for entry in entries]
            if not entries or len(entries) != length or not {*flags} <= {"0", "1"}:
                return 0
            certain = certain or len(set(flags)) < len(flags) or any(isinstance(e, bool | float) for e in entries)
        if length == 1:  # a list with one number in it: of one label a flag, of several the number of one
            certain = declared == 1
        return length if certain or length == declared or length == 2 else 0

    @property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._label_names.names if self.labelled else ()

    def _names(self, value: Any) -> Iterable[Any]:
        value = unpacked(value)
        if value is None or isinstance(value, float):
            return ()
        if isinstance(value, str):
            return [part.strip() for part in value.split(self.setup.separator) if part.strip()]
        return value if isinstance(value, Sequence) else (value,)

    def _target(self, row: Row) -> np.ndarray:
        target = np.zeros(len(self._label_names), dtype=np.float32)
        if isinstance(self.setup.label, tuple):
            for index, column in enumerate(self.setup.label):
                flag = as_flag(row.get(column)) if is_scalar(row.get(column)) else None
                if flag is None:
                    raise bad_row(f"the field {column!r} holds {row.get(column)!r}, not 0 or 1; correct it.")
                target[index] = flag
        elif self._flags:
            flags = [as_flag(entry) for entry in self._names(row.get(str(self.setup.label)))]
            if len(flags) != len(target):
                raise bad_row(
                    f"the field {self.setup.label!r} has {len(flags)} entries of 0 or 1, but there are {len(target)} "
                    f"labels {show(self._label_names.names)}; give one entry for each label."
                )
            target[:] = flags
        else:
            for name in self._names(row.get(str(self.setup.label))):
                target[check_label(self._label_names, name, str(self.setup.label))] = 1
        return target

    def _names_of(self, row: Row) -> Sequence[str]:
        return [name for name, there in zip(self.labels, self._target(row), strict=True) if there]

    def _label_sets(self, reader: Reader) -> Sequence[tuple[LabelSet, Sequence[str], str]]:
        return ((self._label_names, reader.labels, "label"),)

    def _targets_for(self, reader: Reader, examples: Examples) -> tuple[list[Any], dict[str, list[Any]], str]:
        match = self._match(self._label_names, reader.labels, reader)
        targets = []
        for row in examples.rows:
            target = np.zeros(len(reader.labels), dtype=np.float32)
            target[match.to_model] = self._target(row)
            targets.append(target)
        note = match.note
        if isinstance(self.setup.label, tuple):
            read = flags_read_otherwise(row.get(column) for row in examples.rows for column in self.setup.label)
            note = f"{read} {note}".strip()
        if self._flags:
            names = f", in the order {show(self.labels)}" if self.setup.labels is not None else ""
            note = f"The lists in {self.setup.label!r} were read as a 0 or 1 for each label{names}. {note}".strip()
        return targets, {}, note

    def doubts(self, predictions: Sequence[Any], features: Features) -> tuple[str, ...]:
        if features.targets is None:
            return ()
        decided, gold = np.stack(list(predictions)) > 0, np.stack(list(features.targets)) > 0.5
        names = (
            self.labels if len(self.labels) == decided.shape[1] else [f"output {o}" for o in range(decided.shape[1])]
        )
        return tuple(doubts_of_flags(decided, gold, names))

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Binary cross-entropy, the mean over labels."""
        self._need_labels(targets)
        logits = output_of(output, "logits", self).float()
        if targets == "gold":
            wanted = batch.targets
        elif targets == "argmax":
            wanted = (logits.detach() > 0).float()
        else:
            wanted = torch.bernoulli(torch.sigmoid(logits.detach().cpu()), generator=generator).to(logits)
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1)

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        return {
            "micro-f1": metrics.multi_label_micro_f1,
            "macro-f1": lambda: metrics.multi_label_macro_f1(len(self.labels)),
            "accuracy": metrics.accuracy,
        }

    def _agreement(self) -> Measure:
        return metrics.accuracy("agreement")

    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> np.ndarray:
        return np.stack(list(predictions)) > 0

    def _gold(self, features: Features, examples: Examples) -> np.ndarray:
        assert features.targets is not None
        return np.stack(list(features.targets)) > 0.5


class Regression(TextTask):
    """A number for each text or pair."""

    decides = "numbers"

    def _target(self, row: Row) -> float:
        return check_number(row, str(self.setup.label))

    def _targets_for(self, reader: Reader, examples: Examples) -> tuple[list[Any], dict[str, list[Any]], str]:
        self._need_head(reader)
        if len(reader.labels) != 1:
            raise UserError(
                f"The task {self.name} is a regression and needs a head with one output; {reader.name} has "
                f"{len(reader.labels)}, {list(reader.labels)[:20]}: fine-tune the encoder on the task (asc finetune)."
            )
        return [np.float32(self._target(row)) for row in examples.rows], {}, ""

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The squared error; for the model's own targets see `number_targets`."""
        self._need_labels(targets)
        values = output_of(output, "logits", self)[:, 0].float()
        return (values - number_targets(values, batch.targets, targets, generator)) ** 2

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        return {"pearson": metrics.pearson, "spearman": metrics.spearman}

    def _agreement(self) -> Measure:
        return metrics.pearson().named("agreement")

    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> np.ndarray:
        return np.asarray([float(p[0]) for p in predictions])

    def _gold(self, features: Features, examples: Examples) -> np.ndarray:
        assert features.targets is not None
        return np.asarray(features.targets, dtype=np.float64)

    def doubts(self, predictions: Sequence[Any], features: Features) -> tuple[str, ...]:
        if features.targets is None:
            return ()
        decided = np.asarray([float(p[0]) for p in predictions])
        return tuple(doubts_of_numbers(decided, np.asarray(features.targets, dtype=np.float64)))
