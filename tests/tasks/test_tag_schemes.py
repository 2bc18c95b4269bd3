"""The same entities count the same, however a file spells its tags."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.tasks import Task, task_from_rows
from asc_core.tasks.metrics import entities
from asc_core.tasks.tag_schemes import scheme_of
from tests.tiny import tiny

IOBES = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-ORG", "I-ORG", "E-ORG", "S-ORG"]
IOB = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG"]
SPELLINGS = {
    "BILOU": lambda tag: tag.replace("E-", "L-").replace("S-", "U-"),
    "BMES": lambda tag: tag.replace("I-", "M-"),
    "BMEWO": lambda tag: tag.replace("I-", "M-").replace("S-", "W-"),
    "underscores": lambda tag: tag.replace("-", "_"),
    "lower case": str.lower,
    "behind": lambda tag: "-".join(reversed(tag.split("-"))),
    "BILOU behind": lambda tag: "_".join(reversed(SPELLINGS["BILOU"](tag).split("-"))),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(tags=st.lists(st.sampled_from(IOBES), max_size=12))
def test_every_spelling_has_the_entities_of_iobes(spelling: str, tags: list[str]) -> None:
    other = SPELLINGS[spelling]
    spelled = scheme_of([other(tag) for tag in IOBES]).spelled
    found = {(kind.lower(), first, last) for kind, first, last in entities([spelled[other(tag)] for tag in tags])}
    assert found == {(kind.lower(), first, last) for kind, first, last in entities(tags)}


@given(tags=st.lists(st.sampled_from(["O", "OTHER", "ORGANIZATION", "PER", "ORDINAL"]), max_size=12))
def test_types_without_letters_are_runs(tags: list[str]) -> None:
    spelled = scheme_of(["O", "OTHER", "ORGANIZATION", "PER", "ORDINAL"]).spelled
    changes = [i for i in range(len(tags)) if tags[i] != "O" and (i == 0 or tags[i - 1] != tags[i])]
    assert len(entities([spelled[tag] for tag in tags])) == len(changes)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (IOB, ""),
        (IOBES, ""),
        (["O", "B", "I"], ""),
        (["O", "B-PER", "I-PER", "X"], ""),
        (["O", "PER", "ORG"], "no B- or I-"),
        (["NOUN", "VERB"], "no O either"),
        (["0", "1", "2"], "bare numbers"),
        (["LABEL_0", "LABEL_1"], "bare numbers"),
        ([SPELLINGS["BILOU"](tag) for tag in IOBES], "as BILOU"),
        ([SPELLINGS["behind"](tag) for tag in IOB], "behind"),
    ],
)
def test_a_guess_is_said(tags: list[str], said: str) -> None:
    note = scheme_of(tags).note
    assert said in note if said else note == ""


def _task(rows: list[dict[str, Any]], kind: str, **options: Any) -> Task:
    return task_from_rows("t", kind, {}, {"train": lambda: rows, "test": lambda: rows}, **options)


@pytest.mark.parametrize("kind", ["tagging", "intent-slots"])
def test_numbers_for_tags_are_counted_under_the_models_names(kind: str) -> None:
    """ClassLabel numbers, as Dataset.to_json writes them: the model says what they mean."""
    generator = np.random.default_rng(0)
    tags = [generator.integers(0, len(IOB), 7).tolist() for _ in range(12)]
    rows = [{"tokens": ["cat"] * 7, "tags": row, "intent": "a"} for row in tags]
    heads = {"tagging": ("token-classification", IOB, None), "intent-slots": ("intent-slots", ["a", "b"], IOB)}
    head, labels, slots = heads[kind]
    encoder = tiny(head=head, labels=labels, slot_labels=slots)
    numbered = _task(rows, kind, metric="entity-f1", labels=["a", "b"] if slots else None)
    names = [dict(row, tags=[IOB[tag] for tag in row["tags"]]) for row in rows]
    named = _task(names, kind, metric="entity-f1", labels=["a", "b"] if slots else None)
    figures = []
    for task in (numbered, named):
        examples = task.examples("test")
        features = task.features(examples, encoder)
        said = [
            generator.permutation(row).astype(np.int32) for generator, row in zip(_generators(), tags, strict=False)
        ]
        predictions = [(np.asarray([1.0, 0.0]), tag) for tag in said] if slots else said
        figures.append(task.metric.value(task.statistics(predictions, features, examples)))
    assert figures[0] == figures[1] > 0
    assert any("0 = O, 1 = B-PER" in note for note in numbered.features(numbered.examples("test"), encoder).notes)


def _generators() -> list[np.random.Generator]:
    return [np.random.default_rng(i) for i in range(12)]


def test_the_letter_of_a_type_is_no_prefix() -> None:
    """ORG begins with O, and every ORG that is said is wrong: seqeval takes it for outside and counts none."""
    names = ["O", "PER", "ORG"]
    rows = [{"tokens": ["cat", "sat"], "tags": ["PER", "O"]}, {"tokens": ["dog", "ran"], "tags": ["O", "ORG"]}]
    task = _task(rows, "tagging", labels=names)
    encoder = tiny(head="token-classification", labels=names)
    examples = task.examples("test")
    features = task.features(examples, encoder)
    said = [np.asarray([1, 2], dtype=np.int32), np.asarray([0, 2], dtype=np.int32)]
    assert task.statistics(said, features, examples).tolist() == [[1, 2, 1], [1, 1, 1]]
