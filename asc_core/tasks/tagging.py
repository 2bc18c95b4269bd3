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
from asc_core.tasks.cells import unpacked
from asc_core.tasks.doubts import doubts_of_classes
from asc_core.tasks.labels import LabelSet, Match
from asc_core.tasks.metrics import Measure
from asc_core.tasks.table_task import (
    bad_row,
    check_label,
    check_words,
    class_targets,
    output_of,
)
from asc_core.tasks.tag_schemes import scheme_of
from asc_core.tasks.word_spacing import WordTagger, words_apart

IGNORED = -100
ENTITY_METRICS = ("entity-f1", "slot-f1")


class WordTask(WordTagger):
    """What tagging and intent-slots share: words in, one tag a word out."""

    tag_column: str | None

    @cached_property
    def _tags(self) -> LabelSet:
        raise NotImplementedError

    def _all_tags(self, column: str) -> Iterator[Any]:
        for tags in map(unpacked, self._values(column)):
            if not isinstance(tags, str) and isinstance(tags, Sequence):  # other rows are complained of when asked for
                yield from tags

    def check_tags(self, row: Row) -> list[int]:
        """The tags of a row, in the task's order. Raises: _BadRow."""
        column = str(self.tag_column)
        values = row.get(column)
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise bad_row(f"the field {column!r} is not a list of tags; give one list a row.")
        words = row[self.setup.texts[0]]
        if len(values) != len(words):
            raise bad_row(f"there are {len(words)} words and {len(values)} tags in {column!r}; give each word one tag.")
        return [check_label(self._tags, value, column) for value in values]

    def _word_features(
        self, examples: Examples, reader: Reader, match: Match | None
    ) -> tuple[list[np.ndarray], list[np.ndarray], int, str]:
        """(token ids, firsts, how many texts were truncated, what had to be guessed)"""
        texts = [row[self.setup.texts[0]] for row in examples.rows]
        limit = self.token_limit(reader)
        apart, note = self.setup.words == "apart", ""
        if self.setup.words is None:
            apart, note = words_apart(self, examples, reader, match, limit)
        ids, firsts, truncated = tokens.tokenise_words(reader, texts, limit, apart)
        self._require_readable(reader, examples, ids)
        unknown = tokens.unknown(reader, ids, [" ".join(words) for words in texts[:50]])
        return ids, firsts, truncated, " ".join(filter(None, (note, *unknown)))

    def _tag_targets(self, examples: Examples, firsts: list[np.ndarray], match: Match) -> list[np.ndarray]:
        """The model's output for each token that begins a word, IGNORED for the others."""
        targets = []
        for row, first in zip(examples.rows, firsts, strict=True):
            of_word = match.to_model[self.check_tags(row)]
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

    def tag_predictions(self, logits: torch.Tensor, batch: Batch) -> list[np.ndarray]:
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

    def _tag_names(
        self, examples: Examples, model_names: Sequence[str], match: Match | None
    ) -> tuple[dict[str, list[Any]], str]:
        """(the names of the model's outputs and the gold tags of each example, entities in one spelling; a note)"""
        names = self._names_of_outputs(model_names, match)
        if match is None:
            return {"tag_names": [names] * len(examples)}, ""
        scheme = scheme_of(names)
        spelled = [scheme.spelled[name] for name in names]
        if len(set(spelled)) < len(set(names)):  # two tags of one meaning: leave them apart
            spelled = names
        gold = [[spelled[int(match.to_model[tag])] for tag in self.check_tags(row)] for row in examples.rows]
        note = scheme.note if self.metric.name in ENTITY_METRICS else ""
        return {"tag_names": [spelled] * len(examples), "gold_tags": gold}, note

    def _read(self, row: Row) -> tuple[Row, Sequence[str]]:
        """Words and tags as lists, where a table has them as text."""
        changed = {
            column: found
            for column in (self.setup.texts[0], self.tag_column if self.labelled else None)
            if column is not None and (found := unpacked(row.get(column))) is not row.get(column)
        }
        return ({**row, **changed} if changed else row), ()

    def _shown_labels(self, rows: Sequence[Row]) -> list[str] | None:
        return [" ".join(map(str, row[str(self.tag_column)])) for row in rows] if self.labelled else None

    def _names_of(self, row: Row) -> Sequence[str]:
        return [self._tags.names[tag] for tag in self.check_tags(row)]

    def _tag_doubts(
        self, decided: Sequence[np.ndarray], targets: Sequence[np.ndarray], features: Features
    ) -> tuple[str, ...]:
        """decided, targets: of each feature the model's tag of each word, and the right output of each token."""
        gold = np.concatenate([target[target != IGNORED] for target in targets])
        return tuple(doubts_of_classes(np.concatenate(list(decided)), gold, features.extra["output_names"][0], "tags"))

    def word_batch(
        self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        inputs = tokens.feature_inputs(features, rows, reader)
        firsts = features.extra["firsts"]
        begins = tokens.pad([firsts[i] >= 0 for i in rows], 0).astype(bool)
        return inputs, torch.from_numpy(begins).to(reader.device)

    def _names_of_outputs(self, model_names: Sequence[str], match: Match | None) -> list[str]:
        """The name of each of the model's outputs, in the task's spelling where the task has names."""
        names = list(model_names)
        if match is not None and not self._tags.indices:
            for index, output in enumerate(match.to_model):
                names[int(output)] = self._tags.names[index]
        return names


class Tagging(WordTask):
    """texts = (words column,), label = the column with one tag a word."""

    head = "token-classification"
    tag_output = "logits"

    @property
    def tag_column(self) -> str | None:  # type: ignore[override]
        return str(self.setup.label)

    def _label_sets(self, reader: Reader) -> Sequence[tuple[LabelSet, Sequence[str], str]]:
        return ((self._tags, reader.labels, "label"),)

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
            self.check_tags(row)

    def features(self, examples: Examples, reader: Reader) -> Features:
        match = self._match(self._tags, reader.labels, reader) if self.labelled else None
        ids, firsts, truncated, how = self._word_features(examples, reader, match)
        targets = None if match is None else self._tag_targets(examples, firsts, match)
        named, scheme = self._tag_names(examples, reader.labels, match)
        extra: dict[str, list[Any]] = {"firsts": firsts, "output_names": [reader.labels] * len(ids), **named}
        notes = [note for note in (match.note if match is not None else "", scheme, how) if note]
        return Features(ids, None, np.arange(len(ids)), targets, truncated, extra, (*examples.notes, *notes))

    def doubts(self, predictions: Sequence[Any], features: Features) -> tuple[str, ...]:
        return () if features.targets is None else self._tag_doubts(predictions, features.targets, features)

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        inputs, begins = self.word_batch(features, rows, reader)
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
        return self.tag_predictions(output_of(output, "logits", self), batch)

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        return {"entity-f1": metrics.entity_f1, "accuracy": metrics.word_accuracy}

    def _agreement(self) -> Measure:
        return metrics.word_accuracy("agreement")

    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> list[list[str]]:
        return self._word_tags(predictions, features, examples)

    def _gold(self, features: Features, examples: Examples) -> list[list[str]]:
        return list(features.extra["gold_tags"])


Frame = tuple[str | int, list[str]]


class IntentSlots(WordTask):
    """One intent for the text and one slot tag for each word, from a model with both heads.

    texts = (words column,), label = the intent's column, slots = the column with one tag a word. The model gives
    `intent_logits` (B, I) and `slot_logits` (B, T, S); its configuration names the slots in `slot_id2label`.
    """

    head = "intent-slots"
    tag_output = "slot_logits"
    METRICS = ("intent-accuracy", "slot-f1", "sentence-accuracy")  # of intents, of slots, of both together

    @property
    def tag_column(self) -> str | None:  # type: ignore[override]
        return self.setup.slots

    def _names_of(self, row: Row) -> Sequence[str]:
        column = str(self.setup.label)
        return (self._intents.names[check_label(self._intents, row[column], column)], *super()._names_of(row))

    def _label_sets(self, reader: Reader) -> Sequence[tuple[LabelSet, Sequence[str], str]]:
        return ((self._intents, reader.labels, "label"), (self._tags, reader.slot_labels, "slot label"))

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
            self.check_tags(row)

    def features(self, examples: Examples, reader: Reader) -> Features:
        slot_names = reader.slot_labels
        slots = self._match(self._tags, slot_names, reader, "slot label") if self.labelled else None
        ids, firsts, truncated, how = self._word_features(examples, reader, slots)
        extra: dict[str, list[Any]] = {"firsts": firsts}
        if slots is None:
            extra["tag_names"] = [slot_names] * len(ids)
            return Features(
                ids, None, np.arange(len(ids)), None, truncated, extra, (*examples.notes, *([how] if how else []))
            )
        column = str(self.setup.label)
        values = [row.get(column) for row in examples.rows]
        intents = self._match(self._intents, reader.labels, reader, values=values)
        wanted = [int(intents.to_model[check_label(self._intents, row[column], column)]) for row in examples.rows]
        targets = list(zip(wanted, self._tag_targets(examples, firsts, slots), strict=True))
        named, scheme = self._tag_names(examples, slot_names, slots)
        extra |= {"output_names": [slot_names] * len(ids), "intent_names": [reader.labels] * len(ids), **named}
        notes = [note for note in (intents.note, slots.note, scheme, how) if note]
        return Features(ids, None, np.arange(len(ids)), targets, truncated, extra, (*examples.notes, *notes))

    def doubts(self, predictions: Sequence[Any], features: Features) -> tuple[str, ...]:
        if features.targets is None:
            return ()
        decided = np.asarray([int(np.argmax(p[0])) for p in predictions])
        gold = np.asarray([target[0] for target in features.targets])
        of_intents = doubts_of_classes(decided, gold, features.extra["intent_names"][0])
        slots = [target[1] for target in features.targets]
        return (*of_intents, *self._tag_doubts([p[1] for p in predictions], slots, features))

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        inputs, begins = self.word_batch(features, rows, reader)
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
        return list(zip(intents, self.tag_predictions(output_of(output, "slot_logits", self), batch), strict=True))

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
        return list(zip(intents, features.extra["gold_tags"], strict=True))


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
