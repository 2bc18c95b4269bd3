"""Small tasks over the tiny tokenizer's words, one of each kind, that a tiny encoder can learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from asc_core.encoder import Encoder
from asc_core.tasks import Task, task_from_rows
from tests.tiny import WORDS, tiny

PLAIN = [w for w in WORDS[5:] if w.isalpha() and w not in ("good", "bad", "paris", "rome")]
MOODS = ["negative", "positive"]
INTENTS = ["fly", "play"]
SLOTS = ["O", "B-city", "I-city"]


def _text(generator: np.random.Generator, shortest: int = 3, longest: int = 14) -> list[str]:
    return list(generator.choice(PLAIN, generator.integers(shortest, longest + 1)))


def _put(generator: np.random.Generator, words: list[str], word: str) -> int:
    at = int(generator.integers(len(words)))
    words[at] = word
    return at


def _mood(generator: np.random.Generator) -> dict[str, Any]:
    words, positive = _text(generator), bool(generator.integers(2))
    for _ in range(1 + len(words) // 2):
        _put(generator, words, "good" if positive else "bad")
    return {"text": " ".join(words), "mood": MOODS[positive]}


def _pair(generator: np.random.Generator) -> dict[str, Any]:
    row = _mood(generator)
    return {"a": row["text"], "b": " ".join(_text(generator)), "mood": row["mood"]}


def _number(generator: np.random.Generator) -> dict[str, Any]:
    row = _mood(generator)
    return {"text": row["text"], "value": float(generator.normal() + 3 * (row["mood"] == "positive"))}


def _many(generator: np.random.Generator) -> dict[str, Any]:
    words = _text(generator)
    chosen = [name for name, word in (("p", "good"), ("n", "bad")) if generator.integers(2) and not words.append(word)]
    return {"text": " ".join(words), "labels": chosen}


def _tagged(generator: np.random.Generator) -> dict[str, Any]:
    words = _text(generator, 4)
    tags = ["O"] * len(words)
    at = _put(generator, words, str(generator.choice(["paris", "rome"])))
    tags[at] = "B-city"
    return {"tokens": words, "tags": tags, "intent": INTENTS[int(words[0] in PLAIN[:12])]}


def _question(generator: np.random.Generator) -> dict[str, Any]:
    words = _text(generator, 20, 40)
    at = _put(generator, words, "rome")
    start = len(" ".join(words[:at])) + (at > 0)
    answers = {"text": ["rome"], "answer_start": [start]}
    return {"question": "where is the city", "context": " ".join(words), "answers": answers}


KINDS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "text-classification": (_mood, {"texts": ["text"], "label": "mood"}, {"labels": MOODS}),
    "pair-classification": (_pair, {"texts": ["a", "b"], "label": "mood"}, {"labels": MOODS}),
    "multi-label": (_many, {"texts": ["text"], "label": "labels"}, {"labels": ["n", "p"]}),
    "regression": (_number, {"texts": ["text"], "label": "value"}, {}),
    "tagging": (_tagged, {"texts": ["tokens"], "label": "tags"}, {"labels": SLOTS}),
    "intent-slots": (
        _tagged,
        {"texts": ["tokens"], "label": "intent", "slots": "tags"},
        {"labels": INTENTS, "slot_labels": SLOTS},
    ),
    "question-answering": (_question, {}, {"max_length": 24, "stride": 6}),
}


def toy_task(
    kind: str = "text-classification", train: int = 200, validation: int = 60, seed: int = 0, **options: Any
) -> Task:
    """options: what `task_from_rows` takes; label=None leaves the labels out."""
    make, fields, usual = KINDS[kind]
    if "label" in options:
        fields = fields | {"label": options.pop("label")}
        usual = {}

    def rows(count: int, salt: int) -> Any:
        generator = np.random.default_rng([seed, salt])
        return lambda: [make(generator) for _ in range(count)]

    splits = {"train": rows(train, 1), "validation": rows(validation, 2)}
    return task_from_rows(f"toy-{kind}", kind, fields, splits, **(usual | options))


def encoder_for(task: Task, architecture: str = "bert", seed: int = 0, **overrides: Any) -> Encoder:
    labels = list(task.labels) or (["value"] if task.kind == "regression" else None)
    if task.kind == "multi-label":
        overrides["problem_type"] = "multi_label_classification"
    return tiny(architecture, task.head, seed, labels, list(task.slot_labels) or None, **overrides)


_FILE = """
kind = "text-classification"
texts = ["text"]
label = "mood"
[data]
train = "train.tsv"
validation = "validation.tsv"
"""


def written(task: Task, folder: Path) -> Path:
    """The file of a task of moods and its tables, for the command line."""
    for split in ("train", "validation"):
        rows = task.examples(split).rows
        lines = ["text\tmood", *(f"{row['text']}\t{row['mood']}" for row in rows)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "mood.toml").write_text(_FILE)
    return folder / "mood.toml"
