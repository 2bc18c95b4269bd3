"""Duplicate-question detection: do two questions of a traveller ask for the same thing?

A pair that is no duplicate differs in one meaning: the entity, the relation, who has more,
the direction of a trip, a number, or a negation. Both questions are phrased from the same lists
whatever the label, so a single question, or the bag of both questions' words, says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from asc_core.demo.facts import countries
from asc_core.demo.phrasings import COMPARISONS, QUESTIONS, for_split, sentence
from asc_core.demo.relations import confusable, distinct, facts_by_relation

LABELS = ("not_duplicate", "duplicate")
ORDER_FRAMES = ("is it true that {}", "is it right that {}", "can one say that {}")
ORDER_FRAMES_SHIFTED = ("would you agree that {}", "am I right that {}")
MODES = ("train", "bus", "car", "plane")

# {x} start, {y} goal, {z} means of transport; pairs as in `for_split`.
TRIPS = (
    "how do I get from {x} to {y} by {z}",
    "how do I reach {y} from {x} by {z}",
    "how can I travel from {x} to {y} by {z}",
    "how can I come to {y} from {x} by {z}",
    "what is the best way to go by {z} from {x} to {y}",
    "what is the best way to reach {y} by {z} from {x}",
    "can I make my way by {z} to {y} if I leave from {x}",
    "starting in {x}, how do I arrive in {y} by {z}",
    "how long does the trip from {x} to {y} take by {z}",
    "how long does the trip to {y} take by {z} from {x}",
    "how many hours does one need from {x} to {y} by {z}",
    "how many hours does one need to {y} by {z} from {x}",
)
TRIP_KINDS = {"way": (0, 8), "duration": (8, 12)}
# {x} country, {y} number of people.
CITY_LISTS = {
    "more": (
        "which cities in {x} have more than {y} people",
        "which cities in {x} have over {y} inhabitants",
        "what are the cities in {x} with more than {y} inhabitants",
        "in {x}, which cities are larger than {y} people",
        "can you list the cities of {x} above {y} people",
        "what cities of {x} are home to at least {y} people",
        "which towns of {x} have passed {y} residents",
        "where in {x} do upwards of {y} people live in one city",
    ),
    "fewer": (
        "which cities in {x} have fewer than {y} people",
        "which cities in {x} have under {y} inhabitants",
        "what are the cities in {x} with less than {y} inhabitants",
        "in {x}, which cities are smaller than {y} people",
        "can you list the cities of {x} below {y} people",
        "what cities of {x} are home to at most {y} people",
        "which towns of {x} have not reached {y} residents",
        "where in {x} do no more than {y} people live in one city",
    ),
}
# {x} country, {y} currency.
NEIGHBOUR_LISTS = {
    "use": (
        "which neighbours of {x} use the {y}",
        "in which neighbouring countries of {x} can I pay with the {y}",
        "where next to {x} is the {y} the currency",
        "what countries bordering {x} have the {y}",
        "which countries around {x} pay with the {y}",
        "who uses the {y} among the neighbours of {x}",
        "which states beside {x} have adopted the {y}",
        "across which borders of {x} do people spend the {y}",
    ),
    "avoid": (
        "which neighbours of {x} do not use the {y}",
        "in which neighbouring countries of {x} can I not pay with the {y}",
        "where next to {x} is the {y} not the currency",
        "what countries bordering {x} do not have the {y}",
        "which countries around {x} do without the {y}",
        "who does not use the {y} among the neighbours of {x}",
        "which states beside {x} have not adopted the {y}",
        "across which borders of {x} do people never spend the {y}",
    ),
}
BOUNDS = ("100,000", "200,000", "300,000", "500,000", "800,000", "1 million", "2 million", "3 million")


class Meaning(NamedTuple):
    """What a question asks: its `kind` names a list of phrasings, the rest fills them."""

    kind: str
    variant: str
    x: str
    y: str = ""
    z: str = ""


def paraphrase_rows(split: str, count: int) -> list[dict]:
    """`count` rows {question1, question2, label}, half of them duplicates."""
    rng = Random(f"paraphrase/{split}")

    def draw(position: int) -> dict | None:
        label = LABELS[position % 2]
        makers = (_fact, _order, _trip, _city_list, _neighbour_list)
        first, second = rng.choices(makers, (64, 10, 14, 6, 6))[0](split, rng)
        if label == "duplicate":
            second = first
        elif rng.random() < 0.5:
            first, second = second, first
        question1, question2 = _phrase(first, split, rng), _phrase(second, split, rng)
        if question1 == question2:
            return None
        return {"question1": question1, "question2": question2, "label": label}

    rows = distinct(draw, lambda row: tuple(sorted((row["question1"], row["question2"]))), count)
    rng.shuffle(rows)
    return rows


def _phrase(meaning: Meaning, split: str, rng: Random) -> str:
    kind, variant, x, y, z = meaning
    if kind == "fact":
        phrasing = rng.choice(for_split(QUESTIONS[variant], split))
    elif kind == "order":
        frames = ORDER_FRAMES_SHIFTED if split == "shifted" else ORDER_FRAMES
        phrasing = rng.choice(frames).format(rng.choice(for_split(COMPARISONS[variant], split)))
    elif kind == "trip":
        start, end = TRIP_KINDS[variant]
        known = for_split(TRIPS, split)
        phrasing = rng.choice([text for text in TRIPS[start:end] if text in known])
    else:
        lists = {"cities": CITY_LISTS, "neighbours": NEIGHBOUR_LISTS}[kind]
        phrasing = rng.choice(for_split(lists[variant], split))
    return sentence(phrasing.replace("{z}", z), x, y, end="?")


def _fact(split: str, rng: Random) -> tuple[Meaning, Meaning]:
    """Another entity, another relation of the same entity, or the inverse question."""
    relation = rng.choice(sorted(QUESTIONS))
    entity, other = _entities(relation, split, rng)
    meaning = Meaning("fact", relation, entity)
    about_countries = sorted(set(QUESTIONS) - {"capital_of", "city"})
    if relation in about_countries and rng.random() < 0.55:
        return meaning, meaning._replace(variant=rng.choice(_without(about_countries, relation)))
    return meaning, meaning._replace(x=other)


def _order(split: str, rng: Random) -> tuple[Meaning, Meaning]:
    """Swapped places, or another measure of the same places."""
    relation = rng.choice(sorted(COMPARISONS))
    x, y = _entities("city" if relation == "further_north" else "capital", split, rng)
    meaning = Meaning("order", relation, x, y)
    if relation != "further_north" and rng.random() < 0.3:
        return meaning, meaning._replace(variant="larger_area" if relation == "more_people" else "more_people")
    return meaning, meaning._replace(x=y, y=x)


def _trip(split: str, rng: Random) -> tuple[Meaning, Meaning]:
    """The way back, another means of transport, another goal, or duration instead of way."""
    x, y = _entities("city", split, rng)
    kinds = ["way"] if split == "shifted" else sorted(TRIP_KINDS)
    meaning = Meaning("trip", rng.choice(kinds), x, y, rng.choice(MODES))
    change = rng.random()
    if change < 0.5:
        return meaning, meaning._replace(x=y, y=x)
    if change < 0.7:
        return meaning, meaning._replace(z=rng.choice(_without(MODES, meaning.z)))
    if change < 0.85 and len(kinds) > 1:
        return meaning, meaning._replace(variant=_without(kinds, meaning.variant)[0])
    goals = [fact.entity for fact in facts_by_relation(split)["city"] if fact.entity not in (x, y)]
    return meaning, meaning._replace(y=rng.choice(goals))


def _city_list(split: str, rng: Random) -> tuple[Meaning, Meaning]:
    """Fewer instead of more, another number, or another country."""
    x, other = _entities("capital", split, rng)
    meaning = Meaning("cities", rng.choice(sorted(CITY_LISTS)), x, rng.choice(BOUNDS))
    change = rng.random()
    if change < 0.5:
        return meaning, meaning._replace(variant=_without(CITY_LISTS, meaning.variant)[0])
    if change < 0.75:
        return meaning, meaning._replace(y=rng.choice(_without(BOUNDS, meaning.y)))
    return meaning, meaning._replace(x=other)


def _neighbour_list(split: str, rng: Random) -> tuple[Meaning, Meaning]:
    """The negation, another currency, or another country."""
    currencies = sorted({country.currency for country in countries(split)})
    x, other = _entities("neighbour", split, rng)
    meaning = Meaning("neighbours", rng.choice(sorted(NEIGHBOUR_LISTS)), x, rng.choice(currencies))
    change = rng.random()
    if change < 0.5:
        return meaning, meaning._replace(variant=_without(NEIGHBOUR_LISTS, meaning.variant)[0])
    if change < 0.75:
        return meaning, meaning._replace(y=rng.choice(_without(currencies, meaning.y)))
    return meaning, meaning._replace(x=other)


def _entities(relation: str, split: str, rng: Random) -> tuple[str, str]:
    """Two different entities that a question about `relation` can be asked about."""
    if relation == "capital_of":
        names = [country.capital for country in countries(split)]
    elif relation == "city":
        names = [fact.entity for fact in facts_by_relation(split)["city"]]
    elif relation == "neighbour":
        names = [country.name for country in countries(split) if country.neighbours]
    else:
        names = [country.name for country in countries(split)]
    first, second = rng.sample(names, 2)
    return (first, second) if not confusable(first, second) else _entities(relation, split, rng)


def _without(values: Iterable[str], value: str) -> list[str]:
    return [other for other in values if other != value]
