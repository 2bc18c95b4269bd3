"""Extractive question answering over long contexts, with SQuAD 1.1 and 2.0 scoring.

A context that does not fit is read in windows that overlap by `stride` tokens. The answer is the best span over all
windows; in SQuAD 2.0 it is "no answer" where that scores higher. Scoring follows the official evaluation scripts
(Rajpurkar et al. 2016, 2018).
"""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from asc_core.errors import UserError
from asc_core.tasks import metrics, tokens
from asc_core.tasks.answers import answers_of, is_plain, place
from asc_core.tasks.base import Batch, Examples, Features, Reader, Row, Targets
from asc_core.tasks.metrics import Measure
from asc_core.tasks.table_task import TableTask, bad_row, check_text, class_targets, output_of

QUESTION_TOKENS = 64  # longer questions are cut, as in the BERT and SQuAD reference code
N_BEST = 20
ANSWER_TOKENS = 30  # as in transformers' own evaluation; a task file can say otherwise
DEFAULT_STRIDE = 128

SpanLogits = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class QuestionAnswering(TableTask):
    """texts = (question column, context column), label = the answers' column.

    Answers are {"text": [...], "answer_start": [...]}, or any of the forms that `answers_of` reads.
    """

    head = "question-answering"
    default_length = 384

    def _check(self, row: Row) -> None:
        for column in self.setup.texts:
            check_text(row, column)
        if self.labelled:
            self._span(row)

    @cached_property
    def no_answer(self) -> bool:
        """Whether questions may have no answer (SQuAD 2.0): as the task file says, else if one in the data has none."""
        if self.setup.no_answer is not None or not self.labelled:
            return bool(self.setup.no_answer)
        first = self._splits.given_tables()[0]
        return any(answers_of(value) == [] for value in first.column(str(self.setup.label)))

    def _read(self, row: Row) -> tuple[Row, Sequence[str]]:
        """Every answer where it stands in the context, in the context's spelling."""
        column, context = str(self.setup.label), row.get(self.setup.texts[1])
        if not self.labelled or not isinstance(context, str) or is_plain(row.get(column), context):
            return row, ()
        found = answers_of(row.get(column))
        if found is None:
            raise bad_row(f'the field {column!r} is not {{"text": [...], "answer_start": [...]}}; correct it.')
        texts, starts, said = [], [], []
        standing = [(text, place(text, start, context)) for text, start in found]
        for text, where in standing:  # a further answer that stands nowhere can still be right
            first, end, how = where if where is not None else (-1, -1, "")
            texts.append(context[first:end] if where is not None else text)
            starts.append(first)
            said += [how] if how else []
        if found and standing[0][1] is None:
            text = found[0][0]
            raise bad_row(
                f"the answer {text[:60]!r} in the field {column!r} does not stand in the context; correct it."
            )
        return {**row, column: {"text": texts, "answer_start": starts}}, tuple(dict.fromkeys(said))

    def _shown_labels(self, rows: Sequence[Row]) -> None:
        """A question may be answered in several ways."""

    def _names_of(self, row: Row) -> Sequence[str]:
        return ("with an answer" if row[str(self.setup.label)]["text"] else "without an answer",)

    def _span(self, row: Row) -> tuple[int, int] | None:
        """(first, one past the last) character of the first answer, None where there is none. Raises: _BadRow."""
        column = str(self.setup.label)
        answers = row[column]
        if not answers["text"]:
            if self.no_answer:
                return None
            raise bad_row(f"the field {column!r} has no answer; for SQuAD 2.0 set `no_answer = true` in the task file.")
        start = int(answers["answer_start"][0])
        return start, start + len(answers["text"][0])

    def features(self, examples: Examples, reader: Reader) -> Features:
        tokenizer = tokens.tokenizer_of(reader, fast=True)
        limit = self.token_limit(reader)
        questions = [row[self.setup.texts[0]].strip() for row in examples.rows]
        contexts = [row[self.setup.texts[1]] for row in examples.rows]
        space = limit - tokenizer.num_special_tokens_to_add(pair=True)
        questions, truncated = _shorten(questions, tokenizer, min(QUESTION_TOKENS, space // 2))
        stride = self._stride(space - min(QUESTION_TOKENS, space // 2))
        encoded = tokenizer(
            questions,
            contexts,
            truncation="only_second",
            max_length=limit,
            stride=stride,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )
        types_wanted = tokens.takes_token_types(reader)
        ids, types, offsets = [], [], []
        for encoding in encoded.encodings:
            ids.append(np.asarray(encoding.ids, dtype=np.int32))
            if types_wanted:
                types.append(np.asarray(encoding.type_ids, dtype=np.int32))
            in_context = np.asarray([s == 1 for s in encoding.sequence_ids])
            offsets.append(np.where(in_context[:, None], np.asarray(encoding.offsets, dtype=np.int32), -1))
        example = np.asarray(encoded["overflow_to_sample_mapping"], dtype=np.int64)
        self._require_readable(reader, examples, ids, types if types_wanted else None, example)
        notes = (*examples.notes, *tokens.unknown(reader, ids, contexts))
        targets = None
        if self.labelled:
            spans = [self._span(row) for row in examples.rows]
            targets = [token_span(spans[e], o) for e, o in zip(example, offsets, strict=True)]
        return Features(ids, types if types_wanted else None, example, targets, truncated, {"offsets": offsets}, notes)

    def _stride(self, window: int) -> int:
        """Tokens by which windows of `window` context tokens overlap. Raises: UserError if that is too many."""
        if self.setup.stride is None:
            return min(DEFAULT_STRIDE, window // 2)
        if self.setup.stride >= window:
            raise UserError(
                f"stride = {self.setup.stride} of the task {self.name} leaves no room to move on: windows hold "
                f"{window} context tokens; set a smaller stride or a larger max_length in the task file."
            )
        return self.setup.stride

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        inputs = tokens.feature_inputs(features, rows, reader)
        offsets = features.extra["offsets"]
        context = tokens.pad([offsets[i][:, 0] >= 0 for i in rows], 0).astype(bool)  # (B, T)
        targets = None
        if features.targets is not None:
            targets = torch.as_tensor(np.asarray([features.targets[i] for i in rows])).to(reader.device)  # (B, 2)
        return Batch(inputs, targets, {"context": torch.from_numpy(context).to(reader.device)})

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The mean of the cross-entropies of start and end; windows without the answer point to the first token.

        Padding takes no part in the softmax, so that the loss of a feature does not depend on its batch.
        """
        self._need_labels(targets)
        padding = batch.mask == 0
        losses = []
        for column, name in enumerate(("start_logits", "end_logits")):
            logits = output_of(output, name, self).float().masked_fill(padding, float("-inf"))
            gold = None if batch.targets is None else batch.targets[:, column]
            wanted = class_targets(logits, gold, targets, generator)
            losses.append(functional.cross_entropy(logits, wanted, reduction="none"))
        return (losses[0] + losses[1]) / 2

    def predict(self, output: Any, batch: Batch) -> list[Any]:
        """(start tokens, start logits, end tokens, end logits, score of no answer) a window, the 20 best each."""
        context = batch.extra["context"]
        best: list[np.ndarray] = []
        null = torch.zeros(len(context), device=context.device)
        for name in ("start_logits", "end_logits"):
            logits = output_of(output, name, self).detach().float()
            null = null + logits[:, 0]
            top = logits.masked_fill(~context, float("-inf")).topk(min(N_BEST, logits.shape[1]), -1)
            best += [top.indices.cpu().numpy().astype(np.int32), top.values.cpu().numpy()]
        return [tuple(array[i] for array in (*best, null.cpu().numpy())) for i in range(len(context))]

    def answers(self, predictions: Sequence[SpanLogits], features: Features, examples: Examples) -> list[str]:
        """The answer to each question, "" for none."""
        best = [(float("-inf"), "")] * len(examples)
        null = np.full(len(examples), np.inf)
        for prediction, example, offsets in zip(predictions, features.example, features.extra["offsets"], strict=True):
            null[example] = min(null[example], float(prediction[4]))
            found = best_span(prediction, self.setup.answer_tokens or ANSWER_TOKENS)
            if found is not None and found[0] > best[example][0]:
                score, start, end = found
                context = examples.rows[example][self.setup.texts[1]]
                best[example] = (score, context[offsets[start, 0] : offsets[end, 1]].strip())
        return [
            "" if self.no_answer and lowest > score else text for (score, text), lowest in zip(best, null, strict=True)
        ]

    def _measures(self) -> dict[str, Callable[[], Measure]]:
        return {"f1": lambda: self._score("f1", 0), "em": lambda: self._score("em", 1)}

    def _agreement(self) -> Measure:
        return self._score("agreement", 0)

    def _score(self, name: str, column: int) -> Measure:
        empty_may_be_right = self.no_answer or not self.labelled

        def statistics(decided: Sequence[str], gold: Sequence[Sequence[str]]) -> np.ndarray:
            return np.asarray(
                [(*squad_scores(d, g, empty_may_be_right), 1.0) for d, g in zip(decided, gold, strict=True)]
            )

        return metrics.mean_of(name, ("f1", "em", "examples"), column, statistics)

    def _decide(self, predictions: Sequence[Any], features: Features, examples: Examples) -> list[str]:
        return self.answers(predictions, features, examples)

    def _gold(self, features: Features, examples: Examples) -> list[list[str]]:
        return [list(row[str(self.setup.label)]["text"]) for row in examples.rows]

    def _as_gold(self, decided: Any) -> Any:
        return [[text] for text in decided]


def _shorten(questions: list[str], tokenizer: Any, limit: int) -> tuple[list[str], int]:
    """(questions of at most `limit` tokens, how many were cut)"""
    encoded = tokenizer(
        questions, add_special_tokens=False, return_attention_mask=False, return_offsets_mapping=True, verbose=False
    )
    cut = 0
    short = list(questions)
    for i, offsets in enumerate(encoded["offset_mapping"]):
        if len(offsets) > limit:
            short[i] = questions[i][: offsets[limit - 1][1]]
            cut += 1
    return short, cut


def token_span(span: tuple[int, int] | None, offsets: np.ndarray) -> tuple[int, int]:
    """The first and last token of a span of characters; (0, 0) where the window does not hold all of it.

    offsets: (T, 2) characters of each token in the context, -1 for tokens outside it.
    """
    inside = np.flatnonzero(offsets[:, 0] >= 0)
    if span is None or not len(inside):
        return 0, 0
    starts, ends = offsets[inside, 0], offsets[inside, 1]
    if starts[0] > span[0] or ends[-1] < span[1]:
        return 0, 0
    first = int(np.searchsorted(starts, span[0], side="right")) - 1
    last = int(np.searchsorted(ends, span[1], side="left"))
    return int(inside[first]), int(inside[last])


def best_span(prediction: SpanLogits, most_tokens: int = ANSWER_TOKENS) -> tuple[float, int, int] | None:
    """(score, first token, last token) of the best span of a window, None where there is none."""
    starts, start_logits, ends, end_logits, _ = prediction
    length = ends[None, :] - starts[:, None] + 1  # (starts, ends)
    scores = np.where((length >= 1) & (length <= most_tokens), start_logits[:, None] + end_logits[None, :], -np.inf)
    i, j = np.unravel_index(int(scores.argmax()), scores.shape)
    if not np.isfinite(scores[i, j]):
        return None
    return float(scores[i, j]), int(starts[i]), int(ends[j])


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Lower case, without punctuation, articles and needless spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def squad_scores(answer: str, gold: Sequence[str], no_answer: bool) -> tuple[float, float]:
    """(F1, exact match), each the best over the gold answers. no_answer: score as SQuAD 2.0 does, else as 1.1."""
    if no_answer:
        gold = [g for g in gold if normalise(g)] or [""]
    best_f1 = best_em = 0.0
    for right in gold:
        best_em = max(best_em, float(normalise(answer) == normalise(right)))
        best_f1 = max(best_f1, _token_f1(normalise(answer).split(), normalise(right).split(), no_answer))
    return best_f1, best_em


def _token_f1(answer: list[str], right: list[str], no_answer: bool) -> float:
    if no_answer and not (answer and right):
        return float(answer == right)
    common = sum((collections.Counter(answer) & collections.Counter(right)).values())
    return 2 * common / (len(answer) + len(right)) if common else 0.0
