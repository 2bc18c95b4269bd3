"""Intent detection with slot tagging: utterances to a travel assistant.

Two of each intent's phrasings are kept from train but used in validation and test, so about a
sixth of what those splits measure is phrasing that the model has never met; shifted has only
such phrasings, other openings, and (as everywhere) other places.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from random import Random

from asc_core.demo.facts import SPLITS, countries
from asc_core.demo.phrasings import for_split
from asc_core.demo.relations import distinct
from asc_core.demo.utterances import OPENINGS, OPENINGS_SHIFTED, UTTERANCES, VALUES

INTENTS = tuple(sorted(UTTERANCES))
SLOTS = tuple(sorted({slot for said in UTTERANCES.values() for text in said for slot in re.findall(r"{(\w+)}", text)}))
TAGS = ("O", *(f"{prefix}-{slot}" for slot in SLOTS for prefix in "BI"))
KEPT_FROM_TRAIN = (2, 5, 9, 12)  # positions among an intent's phrasings


def intent_rows(split: str, count: int) -> list[dict]:
    """`count` rows {tokens, tags, intent}: one BIO tag a token, intents equally frequent."""
    rng = Random(f"intent/{split}")

    def draw(position: int) -> dict | None:
        intent = INTENTS[position % len(INTENTS)]
        tokens, tags = _filled(rng.choice(_phrasings(intent, split)), split, rng)
        if not _names_a_place(tags) and _owner(tokens) != split:
            return None
        opening = rng.choice(OPENINGS_SHIFTED if split == "shifted" else OPENINGS).split()
        return {"tokens": opening + tokens, "tags": ["O"] * len(opening) + tags, "intent": intent}

    rows = distinct(draw, lambda row: tuple(row["tokens"]), count)
    rng.shuffle(rows)
    return rows


def _names_a_place(tags: list[str]) -> bool:
    return any(tag.endswith(("city", "country")) for tag in tags)


def _owner(tokens: list[str]) -> str:
    """The one split that may say an utterance without a place, so that none leaks."""
    return SPLITS[zlib.crc32(" ".join(tokens).encode()) % len(SPLITS)]


def _phrasings(intent: str, split: str) -> tuple[str, ...]:
    said = UTTERANCES[intent]
    kept = {said[position] for position in KEPT_FROM_TRAIN} if split == "train" else set()
    return tuple(text for text in for_split(said, split) if text not in kept)


def _filled(phrasing: str, split: str, rng: Random) -> tuple[list[str], list[str]]:
    """Tokens and BIO tags of a phrasing whose slots are filled with the split's values."""
    values = _values(split)
    tokens, tags, used = [], [], set()
    for word in phrasing.split():
        slot = word[1:-1] if word.startswith("{") else None
        if slot is None:
            tokens.append(word)
            tags.append("O")
            continue
        value = rng.choice([value for value in values[slot] if value not in used])
        used.add(value)
        article = value.startswith("the ") and slot == "country"
        pieces = value.split()
        tokens += pieces
        if article:
            tags.append("O")
            pieces = pieces[1:]
        tags += [f"{'I' if position else 'B'}-{slot}" for position in range(len(pieces))]
    return tokens, tags


@lru_cache(maxsize=4)
def _values(split: str) -> dict[str, tuple[str, ...]]:
    """What may fill each slot: the split's own places, and the values common to all."""
    homes = countries(split)
    cities = tuple(city.name for home in homes for city in home.cities)
    cities += tuple(home.capital for home in homes)
    currencies = tuple(sorted({home.currency for home in homes}))
    return VALUES | {
        "city": cities,
        "from_city": cities,
        "to_city": cities,
        "country": tuple(home.name for home in homes),
        "continent": tuple(sorted({home.continent for home in homes})),
        "language": tuple(sorted({home.language for home in homes if home.language})),
        "from_currency": currencies,
        "to_currency": currencies,
    }
