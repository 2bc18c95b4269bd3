"""Whether a tagger was trained on words joined by spaces or on words that were tokenised apart.

For a byte-level tokenizer these are different tokens ("Ġopened", "opened"), and nothing in a checkpoint says which it
knows: both are tried on training texts, and the better one is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from asc_core.errors import UserError
from asc_core.tasks import tokens
from asc_core.tasks.base import Batch, Examples, Features, Reader, Row
from asc_core.tasks.labels import Match
from asc_core.tasks.table_task import TableTask, output_of

TRIED_ON = 64  # texts
BATCH = 16
_CHOICE = 'set `words = "apart"` or `words = "joined"` in the task file to choose'


class WordTagger(TableTask):
    """What a task with a tag for each word offers, so that both ways can be tried."""

    tag_output: str

    def word_batch(
        self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        raise NotImplementedError

    def tag_predictions(self, logits: torch.Tensor, batch: Batch) -> list[np.ndarray]:
        raise NotImplementedError

    def check_tags(self, row: Row) -> list[int]:
        raise NotImplementedError


def words_apart(
    task: WordTagger, examples: Examples, reader: Reader, match: Match | None, limit: int
) -> tuple[bool, str]:
    """(whether each word is to be tokenised for itself, what is to be said of it)

    All cuts of a model (they share its tokenizer) read as the first one that was asked, which is the original.
    """
    known = vars(task).setdefault("_words_apart", {})
    key = (id(reader.tokenizer), match is not None)
    if match is None and (id(reader.tokenizer), True) in known:
        key = (id(reader.tokenizer), True)
    if key not in known:
        if _both_ways(task, examples, reader, limit) is None:
            return False, ""
        known[key] = (reader.tokenizer, *_tried(task, reader, match, limit))  # kept, so that its id stays its own
    _, apart, note = known[key]
    return apart, note


def _both_ways(task: WordTagger, examples: Examples, reader: Reader, limit: int) -> tuple[Any, Any] | None:
    """The tokens of words joined and apart, None where they are the same."""
    texts = [row[task.setup.texts[0]] for row in examples.rows[:TRIED_ON]]
    joined = tokens.tokenise_words(reader, texts, limit)
    try:
        apart = tokens.tokenise_words(reader, texts, limit, apart=True)
    except AssertionError:  # a tokenizer that refuses words apart cannot have been trained on them
        return None
    same = all(np.array_equal(a, b) for a, b in zip(joined[0], apart[0], strict=True))
    return None if same else (joined, apart)


def _tried(task: WordTagger, reader: Reader, match: Match | None, limit: int) -> tuple[bool, str]:
    split = task.training_split
    guessed = f"Words were joined by spaces, which this tokenizer reads otherwise than words apart; {_CHOICE}."
    if match is None or reader.head != task.head:
        return False, guessed
    try:
        examples = task.examples(split, TRIED_ON)
    except UserError:  # whoever needs these examples will be told
        return False, guessed
    ways = _both_ways(task, examples, reader, limit)
    if ways is None or any(tokens.beyond(reader, ids) for ids, *_ in ways):  # the rows themselves will say it
        return False, guessed
    if_joined, if_apart = (_right(task, reader, examples, way, match) for way in ways)
    gained, lost = int((if_apart & ~if_joined).sum()), int((if_joined & ~if_apart).sum())
    better = gained - lost > 2 * np.sqrt(gained + lost)  # two standard errors of a paired difference
    return better, (
        f"Words were {'tokenised apart' if better else 'joined by spaces'}: on {len(examples)} {split} texts the model "
        f"tags {100 * if_joined.mean():.1f} % of the words rightly if they are joined, "
        f"{100 * if_apart.mean():.1f} % if they are apart; {_CHOICE}."
    )


def _right(task: WordTagger, reader: Reader, examples: Examples, way: Any, match: Match) -> np.ndarray:
    """(words of all texts,) whether the model's tag is the gold one."""
    ids, firsts, _ = way
    features = Features(ids, None, np.arange(len(ids)), None, extra={"firsts": firsts})
    decided: list[np.ndarray] = [np.empty(0)] * len(ids)
    order = np.argsort(features.lengths, kind="stable")
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            inputs, begins = task.word_batch(features, rows, reader)
            logits = output_of(reader.forward(inputs), task.tag_output, task)
            batch = Batch(inputs, None, {"begins": begins})
            for row, tags in zip(rows, task.tag_predictions(logits, batch), strict=True):
                decided[row] = tags
    right = []
    for row, first, tags in zip(examples.rows, firsts, decided, strict=True):
        gold = match.to_model[task.check_tags(row)]
        said = np.full(len(gold), -1)
        said[first[first >= 0]] = tags
        right.append(said == gold)
    return np.concatenate(right)
