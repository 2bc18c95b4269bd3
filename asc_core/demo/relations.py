"""Facts as (relation, entity, value) triples, the form in which applications draw them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import NamedTuple, TypeVar

from asc_core.demo.facts import Country, area_text, count_text, countries

# Relations in which an entity has one value, so another value contradicts the first.
EXCLUSIVE = ("capital", "population", "area", "continent", "currency", "dialling_code", "city")
NUMERIC = ("population", "area")

Row = TypeVar("Row", bound=dict)


class Fact(NamedTuple):
    """`relation` as in STATEMENTS, `entity` fills {x} and `value` {y} of its phrasings."""

    relation: str
    entity: str
    value: str


def facts_about(country: Country) -> tuple[Fact, ...]:
    """Every fact that the demo knows about `country`, its cities' and borders' included."""
    name = country.name
    plain = {
        "capital": country.capital,
        "population": count_text(country.population),
        "area": area_text(country.area),
        "continent": country.continent,
        "currency": country.currency,
        "language": country.language,
        "dialling_code": country.dialling_code,
    }
    facts = [Fact(relation, name, value) for relation, value in plain.items() if value]
    facts += [Fact("city", city.name, name) for city in country.cities]
    facts += [Fact("neighbour", name, other) for other in country.neighbours]
    return tuple(facts)


@lru_cache(maxsize=4)
def facts_by_relation(split: str) -> dict[str, tuple[Fact, ...]]:
    """The facts of a split's countries, grouped by relation.

    A border is left out when the country on its other side belongs to another split.
    """
    own = {country.name for country in countries(split)}
    grouped: dict[str, list[Fact]] = {}
    for country in countries(split):
        for fact in facts_about(country):
            if fact.relation != "neighbour" or fact.value in own:
                grouped.setdefault(fact.relation, []).append(fact)
    return {relation: tuple(facts) for relation, facts in grouped.items()}


def confusable(name: str, other: str) -> bool:
    """Whether one name contains the other, as "Guinea" and "Equatorial Guinea" do."""
    return name in other or other in name


def number_of(value: str) -> float:
    """The number that a population or an area states: "14.2 million" is 14,200,000."""
    number, _, scale = value.partition(" ")
    return float(number.replace(",", "")) * {"": 1, "million": 1e6, "billion": 1e9}[scale]


def similar(fact: Fact, split: str, rng: Random, near: float = 0.5) -> Fact:
    """A fact of the same relation about another entity, with another value.

    For numbers it is with probability `near` one of the six closest, so that a reader has to
    read the number and cannot judge by its magnitude.
    """
    others = [
        other
        for other in facts_by_relation(split)[fact.relation]
        if other.value != fact.value and not confusable(other.entity, fact.entity)
    ]
    if fact.relation in NUMERIC and rng.random() < near:
        others.sort(key=lambda other: abs(number_of(other.value) - number_of(fact.value)))
        others = others[:6]
    return rng.choice(others)


def distinct(draw: Callable[[int], Row | None], key: Callable[[Row], object], count: int) -> list:
    """`count` rows from `draw(i)`, i = 0, 1, ..., called again for i on None or a repeated key.

    Raises RuntimeError when a row is refused a thousand times: the application's world is then
    too small for the size that was asked for.
    """
    rows: list[Row] = []
    seen = set()
    for position in range(count):
        for _ in range(1000):
            row = draw(position)
            if row is not None and key(row) not in seen:
                break
        else:
            raise RuntimeError(f"no new row after {len(rows)} of {count}: the world is too small")
        seen.add(key(row))
        rows.append(row)
    return rows
