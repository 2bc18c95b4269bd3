"""Extractive question answering over short notes about several countries.

The answer's sentence stands among sentences of the same relation about other entities and of
other relations about the same entity: neither the entity nor the relation alone finds it.
"""

from __future__ import annotations

import re
from random import Random

from asc_core.demo.facts import countries
from asc_core.demo.phrasings import QUESTIONS, STATEMENTS, for_split, sentence
from asc_core.demo.relations import (
    Fact,
    confusable,
    distinct,
    facts_about,
    facts_by_relation,
    similar,
)


def question_answering_rows(split: str, count: int) -> list[dict]:
    """`count` rows of the SQuAD schema: id, question, context, answers {text, answer_start}.

    Every row has one answer, and its text occurs once in the context.
    """
    rng = Random(f"qa/{split}")
    asked = sorted(QUESTIONS)

    def draw(position: int) -> dict | None:
        return _row(asked[position % len(asked)], split, rng)

    rows = distinct(draw, lambda row: (row["question"], row["context"]), count)
    rng.shuffle(rows)
    return [{"id": f"qa-{split}-{number}", **row} for number, row in enumerate(rows)]


def _row(asked: str, split: str, rng: Random) -> dict | None:
    relation = "capital" if asked == "capital_of" else asked
    fact = rng.choice(facts_by_relation(split)[relation])
    given, answer = (fact.value, fact.entity) if asked == "capital_of" else fact[1:]
    sentences = [_statement(fact, split, rng)]
    others = _distractors(fact, answer, split, rng)
    if len(others) < 3:
        return None
    for other in others:
        sentences.append(_statement(other, split, rng))
    rng.shuffle(sentences)
    context = " ".join(sentences)
    found = [match.start() for match in re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", context, re.I)]
    if len(found) != 1:
        return None
    start = found[0]
    return {
        "question": sentence(rng.choice(for_split(QUESTIONS[asked], split)), given, end="?"),
        "context": context,
        # A sentence may open with the answer, and then "the" has become "The".
        "answers": {"text": [context[start : start + len(answer)]], "answer_start": [start]},
    }


def _distractors(fact: Fact, answer: str, split: str, rng: Random) -> list[Fact]:
    """Four facts: of the same relation, about the same entity, about a rival, in this order.

    A fact that mentions the answer is not taken, since the answer must stand in one place.
    """
    rivals = [similar(fact, split, rng) for _ in range(4)]
    about = {
        place: [
            other
            for country in countries(split)
            if country.name == place
            for other in facts_about(country)
            if other.relation != fact.relation and answer not in other
        ]
        for place in (fact.entity, rivals[0].entity)
    }
    extra = [rng.choice(facts) for facts in about.values() if facts]
    allowed = [
        other
        for other in dict.fromkeys(rivals[:2] + extra + rivals[2:])
        if (other.entity == fact.entity or not confusable(other.entity, fact.entity))
        and not (other.relation == fact.relation == "neighbour" and fact.entity in other)
    ]
    return allowed[:4]


def _statement(fact: Fact, split: str, rng: Random) -> str:
    return sentence(rng.choice(for_split(STATEMENTS[fact.relation], split)), fact.entity, fact.value)
