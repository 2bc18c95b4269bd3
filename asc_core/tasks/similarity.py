"""Embedding models: how well the cosine of two texts' embeddings ranks the similarity that people gave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from asc_core.errors import UserError
from asc_core.sentences import ASSUMED, Sentences
from asc_core.tasks import metrics, tokens
from asc_core.tasks.base import Batch, Examples, Features, Reader, Row, Targets
from asc_core.tasks.doubts import doubts_of_numbers
from asc_core.tasks.metrics import Measure
from asc_core.tasks.table_task import TableTask, as_number, check_number, check_text, number_targets, output_of

MEAN = Sentences()


class SentenceSimilarity(TableTask):
    """texts = two columns, label = a number for each pair, on any scale.

    A feature holds both texts, one after the other; `batch` puts them in two rows next to each other
    (`rows_per_feature` 2), and an embedding is made of a row's tokens as the model's folder says, else their mean.
    """

    decides = "numbers"

    head = "embedding"

    def _check(self, row: Row) -> None:
        for column in self.setup.texts:
            check_text(row, column)
        if self.labelled:
            check_number(row, str(self.setup.label))

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """(lowest, highest) score in the data: what cosines 0 and 1 are compared with in the loss."""
        column = str(self.setup.label)
        scores = [score for score in map(as_number, self._values(column)) if np.isfinite(score)]
        low, high = min(scores), max(scores)
        if low == high:
            raise UserError(f"{self.setup.origin}: all scores in {column!r} are {low:g}; there is nothing to rank.")
        return low, high

    def token_limit(self, reader: Reader) -> int:
        """As the task says, else as the model's folder says."""
        own = reader.sentences.max_tokens if reader.sentences is not None else None
        wanted = self.setup.max_length
        return tokens.length_limit(wanted, own or self.default_length, reader, self.name)

    def features(self, examples: Examples, reader: Reader) -> Features:
        sentences = reader.sentences or MEAN
        limit = self.token_limit(reader)
        first, second = ([sentences.text(row[c]) for row in examples.rows] for c in self.setup.texts)
        a, _, a_cut = tokens.tokenise(reader, first, None, limit)
        b, _, b_cut = tokens.tokenise(reader, second, None, limit)
        targets = None
        if self.labelled:
            low, high = self._scale
            scores = [check_number(row, str(self.setup.label)) for row in examples.rows]
            targets = [np.float32((score - low) / (high - low)) for score in scores]
        both = [np.concatenate(pair) for pair in zip(a, b, strict=True)]
        self._require_readable(reader, examples, both)
        assumed = sentences.notes if reader.sentences is not None else (f"{reader.name} {ASSUMED}",)
        notes = (*examples.notes, *assumed, *tokens.unknown(reader, both, [*first[:50], *second[:50]]))
        lengths = {"first_length": [len(x) for x in a]}
        return Features(both, None, np.arange(len(both)), targets, len({*a_cut, *b_cut}), lengths, notes)

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        texts = []
        for i in rows:
            length = features.extra["first_length"][i]
            texts += [features.input_ids[i][:length], features.input_ids[i][length:]]
        targets = None
        if features.targets is not None:
            targets = torch.as_tensor(np.asarray([features.targets[i] for i in rows])).to(reader.device)
        sentences = reader.sentences or MEAN
        extra = {"sentences": sentences, "prompt": sentences.prompt_tokens(reader.tokenizer)}
        return Batch(tokens.model_inputs(texts, None, reader), targets, extra, rows_per_feature=2)

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The squared difference of cosine and score, the scores brought to 0..1; see `number_targets`."""
        self._need_labels(targets)
        cosines = self._cosines(output, batch)
        return (cosines - number_targets(cosines, batch.targets, targets, generator)) ** 2

    def _cosines(self, output: Any, batch: Batch) -> torch.Tensor:
        """(B,) from hidden states (2B, T, d)."""
        hidden = output_of(output, "last_hidden_state", self)
        embeddings = batch.extra["sentences"].embed(hidden, batch.mask, batch.extra["prompt"])  # (2B, width)
        return functional.cosine_similarity(embeddings[0::2], embeddings[1::2], dim=-1)

    def predict(self, output: Any, batch: Batch) -> list[Any]:
        """The cosine of each pair, (1,) float32."""
        return list(self._cosines(output, batch).detach().cpu().numpy().reshape(-1, 1))

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        return {"spearman": metrics.spearman, "pearson": metrics.pearson}

    def _agreement(self) -> Measure:
        return metrics.spearman().named("agreement")

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
