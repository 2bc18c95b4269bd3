"""Tags for words, alone or together with an intent for the whole text.

A word's tag is read off its first token; words that `max_length` cut away, or that have no token at all, are tagged
"O". Entities are counted as seqeval does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from asc_core.tasks import metrics, tokens
from asc_core.tasks.base import Batch, Examples, Features, Reader, Row, Targets
from asc_core.tasks.labels import LabelSet, Match
from asc_core.tasks.metrics import Measure
from asc_core.tasks.table_task import (
    TableTask,
    bad_row,
    check_label,
    check_words,
    class_targets,
    output_of,
)

IGNORED = -100


class WordTask(TableTask):
    """What tagging and intent-slots share: words in, one tag a word out."""

    tag_column: str | None
    tag_output: str

    @cached_property
    def _tags(self) -> LabelSet:
        raise NotImplementedError

    def _all_tags(self, column: str) -> Iterator[Any]:
        for tags in self._values(column):
            if not isinstance(tags, str) and isinstance(tags, Sequence):  # other rows are complained of when asked for
                yield from tags

    def _check_tags(self, row: Row) -> list[int]:
        """The tags of a row, in the task's order. Raises: _BadRow."""
        column = str(self.tag_column)
        values = row.get(column)
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise bad_row(f"the field {column!r} is not a list of tags; give one list a row.")
        words = row[self.setup.texts[0]]
        if len(values) != len(words):
            raise bad_row(f"there are {len(words)} words and {len(values)} tags in {column!r}; give each word one tag.")
        return [check_label(self._tags, value, column) for value in values]

    def _word_features(self, examples: Examples, reader: Reader) -> tuple[list[np.ndarray], list[np.ndarray], int]:
        texts = [row[self.setup.texts[0]] for row in examples.rows]
        found = tokens.tokenise_words(reader, texts, self._limit(reader))
        self._require_readable(reader, examples, found[0])
        return found

    def _tag_targets(self, examples: Examples, firsts: list[np.ndarray], match: Match) -> list[np.ndarray]:
        """The model's output for each token that begins a word, IGNORED for the others."""
        targets = []
        for row, first in zip(examples.rows, firsts, strict=True):
            of_word = match.to_model[self._check_tags(row)]
            targets.append(np.where(first >= 0, of_word[first], IGNORED).astype(np.int32))
        return targets

    def _tag_loss(
        self, logits: torch.Tensor, batch: Batch, gold: torch.Tensor | None, targets: Targets, generator: Any
    ) -> torch.Tensor:
        """(B,) the mean cross-entropy over the words of each feature. logits: (B, T, S)."""
        begins = batch.extra["begins"]
        wanted = torch.full(begins.shape, IGNORED, device=logits.device)
        wanted[begins] = class_targets(logits[begins], None if gold is None else gold[begins], targets, generator)
        losses = functional.cross_entropy(
            logits.float().transpose(1, 2), wanted, ignore_index=IGNORED, reduction="none"
        )
        return losses.sum(1) / begins.sum(1).clamp(min=1)

    def _tag_predictions(self, logits: torch.Tensor, batch: Batch) -> list[np.ndarray]:
        """The model's tag of each token that begins a word, (words that have a token,) int32."""
        best = logits.detach().argmax(-1).cpu().numpy().astype(np.int32)
        begins = batch.extra["begins"].cpu().numpy()
        return [row[mask] for row, mask in zip(best, begins, strict=True)]

    def _word_tags(self, predictions: Sequence[np.ndarray], features: Features, examples: Examples) -> list[list[str]]:
        """The tag of every word of each example, by name."""
        names = features.extra["tag_names"]
        decided = []
        for tags, first, row, known in zip(predictions, features.extra["firsts"], examples.rows, names, strict=True):
            words = ["O"] * len(row[self.setup.texts[0]])
            for word, tag in zip(first[first >= 0], tags, strict=True):
                words[int(word)] = known[int(tag)]
            decided.append(words)
        return decided

    def _gold_tags(self, examples: Examples) -> list[list[str]]:
        names = self._tags.names
        return [[names[tag] for tag in self._check_tags(row)] for row in examples.rows]

    def _word_batch(
        self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        inputs = tokens.feature_inputs(features, rows, reader)
        firsts = features.extra["firsts"]
        begins = tokens.pad([firsts[i] >= 0 for i in rows], 0).astype(bool)
        return inputs, torch.from_numpy(begins).to(reader.device)

    def _names_of_outputs(self, model_names: Sequence[str], match: Match | None) -> list[str]:
        """The name of each of the model's outputs, in the task's spelling where the task has it."""
        names = list(model_names)
        if match is not None:
            for index, output in enumerate(match.to_model):
                names[int(output)] = self._tags.names[index]
        return names


class Tagging(WordTask):
    """texts = (words column,), label = the column with one tag a word."""

    head = "token-classification"

    @property
    def tag_column(self) -> str | None:  # type: ignore[override]
        return str(self.setup.label)

    @cached_property
    def _tags(self) -> LabelSet:
        column = str(self.setup.label)
        return self._label_set(column, self.setup.labels, lambda: self._all_tags(column))

    @property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._tags.names if self.labelled else ()

    def _check(self, row: Row) -> None:
        check_words(row, self.setup.texts[0])
        if self.labelled:
            self._check_tags(row)

    def features(self, examples: Examples, reader: Reader) -> Features:
        match = self._match(self._tags, reader.labels, reader) if self.labelled else None
        ids, firsts, truncated = self._word_features(examples, reader)
        targets = None if match is None else self._tag_targets(examples, firsts, match)
        names = self._names_of_outputs(reader.labels, match)
        return Features(
            ids,
            None,
            np.arange(len(ids)),
            targets,
            truncated,
            {"firsts": firsts, "tag_names": [names] * len(ids)},
            (match.note,) if match is not None and match.note else (),
        )

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        inputs, begins = self._word_batch(features, rows, reader)
        targets = None
        if features.targets is not None:
            targets = torch.from_numpy(tokens.pad([features.targets[i] for i in rows], IGNORED)).to(reader.device)
        return Batch(inputs, targets, {"begins": begins})

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        self._need_labels(targets)
        return self._tag_loss(output_of(output, "logits", self), batch, batch.targets, targets, generator)

    def predict(self, output: Any, batch: Batch) -> list[Any]:
        return self._tag_predictions(output_of(output, "logits", self), batch)

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        return {"entity-f1": metrics.entity_f1, "accuracy": metrics.word_accuracy}

    def _agreement(self) -> Measure:
        return metrics.word_accuracy("agreement")

    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> list[list[str]]:
        return self._word_tags(predictions, features, examples)

    def _gold(self, features: Features, examples: Examples) -> list[list[str]]:
        return self._gold_tags(examples)


Frame = tuple[str | int, list[str]]


class IntentSlots(WordTask):
    """One intent for the text and one slot tag for each word, from a model with both heads.

    texts = (words column,), label = the intent's column, slots = the column with one tag a word. The model gives
    `intent_logits` (B, I) and `slot_logits` (B, T, S); its configuration names the slots in `slot_id2label`.
    """

    head = "intent-slots"

    @property
    def tag_column(self) -> str | None:  # type: ignore[override]
        return self.setup.slots

    @cached_property
    def _intents(self) -> LabelSet:
        column = str(self.setup.label)
        return self._label_set(column, self.setup.labels, lambda: self._values(column))

    @cached_property
    def _tags(self) -> LabelSet:
        column = str(self.setup.slots)
        return self._label_set(column, self.setup.slot_labels, lambda: self._all_tags(column))

    @property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._intents.names if self.labelled else ()

    @property
    def slot_labels(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._tags.names if self.labelled else ()

    @property
    def _columns(self) -> tuple[str, ...]:
        return (*super()._columns, *((str(self.setup.slots),) if self.labelled else ()))

    def _check(self, row: Row) -> None:
        check_words(row, self.setup.texts[0])
        if self.labelled:
            check_label(self._intents, row.get(str(self.setup.label)), str(self.setup.label))
            self._check_tags(row)

    def features(self, examples: Examples, reader: Reader) -> Features:
        slot_names = reader.slot_labels
        ids, firsts, truncated = self._word_features(examples, reader)
        extra: dict[str, list[Any]] = {"firsts": firsts}
        if not self.labelled:
            extra["tag_names"] = [slot_names] * len(ids)
            return Features(ids, None, np.arange(len(ids)), None, truncated, extra)
        intents = self._match(self._intents, reader.labels, reader)
        slots = self._match(self._tags, slot_names, reader, "slot label")
        column = str(self.setup.label)
        wanted = [int(intents.to_model[check_label(self._intents, row[column], column)]) for row in examples.rows]
        targets = list(zip(wanted, self._tag_targets(examples, firsts, slots), strict=True))
        extra["tag_names"] = [self._names_of_outputs(slot_names, slots)] * len(ids)
        notes = tuple(note for note in (intents.note, slots.note) if note)
        return Features(ids, None, np.arange(len(ids)), targets, truncated, extra, notes)

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        inputs, begins = self._word_batch(features, rows, reader)
        targets = None
        if features.targets is not None:
            intents = torch.as_tensor([features.targets[i][0] for i in rows])
            slots = torch.from_numpy(tokens.pad([features.targets[i][1] for i in rows], IGNORED))
            targets = (intents.to(reader.device), slots.to(reader.device))
        return Batch(inputs, targets, {"begins": begins})

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Cross-entropy of the intent plus the mean cross-entropy of the slots."""
        self._need_labels(targets)
        logits = output_of(output, "intent_logits", self)
        gold_intents, gold_slots = batch.targets if batch.targets is not None else (None, None)
        wanted = class_targets(logits, gold_intents, targets, generator)
        intent_loss = functional.cross_entropy(logits.float(), wanted, reduction="none")
        slot_logits = output_of(output, "slot_logits", self)
        return intent_loss + self._tag_loss(slot_logits, batch, gold_slots, targets, generator)

    def predict(self, output: Any, batch: Batch) -> list[Any]:
        """(intent logits (I,) float32, tags of the words) of each feature."""
        intents = output_of(output, "intent_logits", self).detach().float().cpu().numpy()
        return list(zip(intents, self._tag_predictions(output_of(output, "slot_logits", self), batch), strict=True))

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        intent, slots = _of_part(metrics.accuracy("intent-accuracy"), 0), _of_part(metrics.entity_f1("slot-f1"), 1)
        return {
            "intent-accuracy": lambda: intent,
            "accuracy": lambda: intent,
            "slot-f1": lambda: slots,
            "entity-f1": lambda: slots,
            "sentence-accuracy": lambda: _sentence_accuracy("sentence-accuracy"),
        }

    def _agreement(self) -> Measure:
        return _sentence_accuracy("agreement")

    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> list[Frame]:
        intents = [int(np.argmax(p[0])) for p in predictions]
        return list(zip(intents, self._word_tags([p[1] for p in predictions], features, examples), strict=True))

    def _gold(self, features: Features, examples: Examples) -> list[Frame]:
        assert features.targets is not None
        intents = [int(target[0]) for target in features.targets]
        return list(zip(intents, self._gold_tags(examples), strict=True))


def _of_part(measure: Measure, part: int) -> Measure:
    """A measure of the intents (part 0) or of the slots (part 1) of frames."""

    def statistics(decided: Sequence[Frame], gold: Sequence[Frame]) -> np.ndarray:
        return measure.statistics([d[part] for d in decided], [g[part] for g in gold])

    return Measure(measure.metric, statistics)


def _sentence_accuracy(name: str) -> Measure:
    """The share of texts whose intent and tags are all right."""

    def statistics(decided: Sequence[Frame], gold: Sequence[Frame]) -> np.ndarray:
        return np.asarray([[float(d == g)] for d, g in zip(decided, gold, strict=True)])

    return Measure(metrics.accuracy(name).metric, statistics)
