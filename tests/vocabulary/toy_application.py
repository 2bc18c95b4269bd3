"""A tiny encoder that reads with a real tokenizer of some kind, and an application of its words."""

from __future__ import annotations

from typing import Any

import numpy as np

from asc_core.encoder import Encoder
from asc_core.tasks import Task, task_from_rows
from tests.tiny import tiny
from tests.vocabulary.tokenizers_of_each_kind import CORPUS, TRAINED

LABELS = ["even", "odd"]


def encoder_of(kind: str, head: str = "sequence-classification") -> Encoder:
    tokenizer = TRAINED[kind]
    model = tiny("bert", head, 0, LABELS, vocab_size=len(tokenizer), max_position_embeddings=128).model
    return Encoder(model, tokenizer, f"tiny-{kind}")


def task_of(train_words: list[str], held_out_words: list[str], count: int = 60, labelled: bool = True) -> Task:
    """Random texts of the words."""

    def rows(words: list[str], salt: int) -> Any:
        generator = np.random.default_rng(salt)
        texts = [" ".join(generator.choice(words, generator.integers(2, 6))) for _ in range(count)]
        return lambda: [{"text": text, "label": LABELS[len(text) % 2]} for text in texts]

    splits = {"train": rows(train_words, 1), "validation": rows(held_out_words, 2)}
    if not labelled:
        return task_from_rows("toy-words", "text-classification", {"texts": ["text"]}, splits)
    fields = {"texts": ["text"], "label": "label"}
    return task_from_rows("toy-words", "text-classification", fields, splits, labels=LABELS)


def tagging_of(words: list[str]) -> Task:
    """The same with a tag for each word."""
    whole = task_of(words, words)
    splits = {split: [row["text"].split() for row in whole.examples(split).rows] for split in whole.splits}
    rows: Any = {
        split: lambda texts=texts: [{"tokens": t, "tags": [LABELS[len(w) % 2] for w in t]} for t in texts]
        for split, texts in splits.items()
    }
    return task_from_rows("toy-tags", "tagging", {"texts": ["tokens"], "label": "tags"}, rows, labels=LABELS)


SEEN, NEW = CORPUS[0].split(), [*CORPUS[0].split(), *CORPUS[1].split()]
