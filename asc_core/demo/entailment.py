"""Natural language inference: does a note of one or two sentences entail, contradict or leave open a claim?

Premises always tell the truth and name places that train has never seen, and the form of a claim
(plain, comparison, bound) is drawn independently of its label, so that neither the claim alone
nor the words of both texts give the label away: one has to find out whether the premise is about
the same entity and the same relation, and then compare values, order and negation.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from asc_core.demo.facts import countries
from asc_core.demo.phrasings import (
    BOUNDS,
    COMPARISONS,
    STATEMENTS,
    denials,
    for_split,
    sentence,
)
from asc_core.demo.relations import (
    EXCLUSIVE,
    NUMERIC,
    Fact,
    confusable,
    distinct,
    facts_about,
    facts_by_relation,
    number_of,
    similar,
)

LABELS = ("entailment", "neutral", "contradiction")
TWO_SENTENCES = 0.15  # the share of premises that say a second thing
# As in natural text, who denies mostly contradicts; an entailed denial takes two steps of
# reasoning, and a small encoder needs far more than 6,000 examples for many of them.
DENIED = {"entailment": 0.08, "neutral": 0.2, "contradiction": 0.4}
NEAR = 0.2  # the share of wrong numbers that are close to the right one
ORDER = {"population": "more_people", "area": "larger_area"}


def entailment_rows(split: str, count: int) -> list[dict]:
    """`count` rows {premise, hypothesis, label}, as many of each label as the count allows."""
    rng = Random(f"nli/{split}")

    def draw(position: int) -> dict | None:
        label = LABELS[position % len(LABELS)]
        form = rng.choices((_fact_claim, _comparison_claim, _bound_claim), (80, 15, 5))[0]
        drawn = form(label, split, rng)
        if drawn is None:
            return None
        premise, hypothesis = drawn
        return {"premise": premise, "hypothesis": hypothesis, "label": label}

    rows = distinct(draw, lambda row: (row["premise"], row["hypothesis"]), count)
    rng.shuffle(rows)
    return rows


def _fact_claim(label: str, split: str, rng: Random) -> tuple[str, str] | None:
    """A fact, right or wrong, plain or denied; neutral premises do not state it."""
    fact = rng.choice(facts_by_relation(split)[rng.choice(EXCLUSIVE)])
    rival = similar(fact, split, rng, NEAR)
    denied = rng.random() < DENIED[label]
    if label == "neutral":
        right = rng.random() < 0.5
        stated = [rival if rng.random() < 0.5 else _beside(fact, split, rng)]
        claimed = fact if right else similar(fact, split, rng)
    else:
        right = (label == "entailment") != denied
        stated = [fact]
        claimed = fact if right else rival
    if rng.random() < TWO_SENTENCES:
        stated.append(rng.choice((similar(fact, split, rng), _beside(fact, split, rng))))
    if label == "neutral" and any(claimed.value == other.value for other in stated):
        return None
    phrasings = denials(fact.relation, split) if denied else for_split(STATEMENTS[fact.relation], split)
    return _note(stated, split, rng), sentence(rng.choice(phrasings), fact.entity, claimed.value)


def _beside(fact: Fact, split: str, rng: Random) -> Fact:
    """Another relation of the same place."""
    place = fact.value if fact.relation == "city" else fact.entity
    country = next(country for country in countries(split) if country.name == place)
    return rng.choice(
        [other for other in facts_about(country) if other.relation in EXCLUSIVE and other.relation != fact.relation]
    )


def _comparison_claim(label: str, split: str, rng: Random) -> tuple[str, str] | None:
    """Which of two is larger or further north; contradictions swap the two."""
    relation = rng.choice(sorted(COMPARISONS))
    greater, smaller, other = _ranked(relation, split, rng)
    claim = (greater, smaller)
    if label == "contradiction" or (label == "neutral" and rng.random() < 0.5):
        claim = (smaller, greater)
    if label != "neutral":
        premise = _compared(relation, (greater, smaller), split, rng)
    elif rng.random() < 0.5 or relation == "further_north":
        kept = rng.choice((greater, smaller))
        pair = sorted((kept, other), key=lambda place: -place[1])
        premise = _compared(relation, (pair[0], pair[1]), split, rng)
    else:
        rest = {"more_people": "larger_area", "larger_area": "more_people"}[relation]
        pair = sorted(_sizes(rest, (greater[0], smaller[0]), split), key=lambda place: -place[1])
        premise = _compared(rest, (pair[0], pair[1]), split, rng)
    phrasing = rng.choice(for_split(COMPARISONS[relation], split))
    return premise, sentence(phrasing, claim[0][0], claim[1][0])


def _ranked(relation: str, split: str, rng: Random) -> list[tuple[str, float]]:
    """Three places with their measure: the greater, the smaller, and a third one."""
    if relation == "further_north":
        cities = [(city.name, city.latitude) for home in countries(split) for city in home.cities]
        places = rng.sample(cities, 3)
    else:
        names = [country.name for country in countries(split)]
        places = _sizes(relation, rng.sample(names, 3), split)
    if any(confusable(a[0], b[0]) for a in places for b in places if a is not b):
        return _ranked(relation, split, rng)
    return sorted(places[:2], key=lambda place: -place[1]) + places[2:]


def _sizes(relation: str, names: Iterable[str], split: str) -> list[tuple[str, float]]:
    """(name, people or square kilometres) of the named countries."""
    by_name = {country.name: country for country in countries(split)}
    attribute = "population" if relation == "more_people" else "area"
    return [(name, getattr(by_name[name], attribute)) for name in names]


def _compared(relation: str, pair: tuple, split: str, rng: Random) -> str:
    """A premise that orders `pair`: in words, or in a third of the cases by two numbers."""
    (greater, more), (smaller, less) = pair
    numbers = next((name for name, order in ORDER.items() if order == relation), None)
    if numbers and more > 2 * less and rng.random() < 0.33:
        facts = [fact for fact in facts_by_relation(split)[numbers] if fact.entity in (greater, smaller)]
        return _note(facts, split, rng)
    phrasing = rng.choice(for_split(COMPARISONS[relation], split))
    return sentence(phrasing, greater, smaller)


def _bound_claim(label: str, split: str, rng: Random) -> tuple[str, str] | None:
    """More or fewer than a round number, a factor of 1.5 or more away from the stated one."""
    fact = rng.choice(facts_by_relation(split)[rng.choice(NUMERIC)])
    number = number_of(fact.value)
    above = rng.random() < 0.5
    holds = label == "entailment" or (label == "neutral" and rng.random() < 0.5)
    factor = rng.choice((1.5, 2, 3, 5))
    bound = number / factor if above == holds else number * factor
    phrasing = rng.choice(for_split(BOUNDS[fact.relation, above], split))
    others = [_beside(fact, split, rng), similar(fact, split, rng)]
    rng.shuffle(others)
    stated = others[:1] if label == "neutral" else [fact]
    if rng.random() < TWO_SENTENCES:
        stated.append(others[1])
    return _note(stated, split, rng), sentence(phrasing, fact.entity, _round_number(bound))


def _round_number(number: float) -> str:
    """`number` to one leading digit, in words as a person would set a bound: "20 million"."""
    digits = len(str(int(number)))
    rounded = round(int(number), 1 - digits)
    if rounded >= 1_000_000_000:
        return f"{rounded // 1_000_000_000} billion"
    if rounded >= 1_000_000:
        return f"{rounded // 1_000_000} million"
    return f"{rounded:,}"


def _note(facts: list[Fact], split: str, rng: Random) -> str:
    sentences = [
        sentence(rng.choice(for_split(STATEMENTS[fact.relation], split)), fact.entity, fact.value) for fact in facts
    ]
    rng.shuffle(sentences)
    return " ".join(sentences)
