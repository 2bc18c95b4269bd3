"""What is written as JSON or arrays is read back as it was: everything with `to_json` and `from_json`, and scores."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.plan import by_share
from asc_core.recipes import Recipe
from asc_core.scores.compare import Agreement
from asc_core.scores.faithfulness_report import FaithfulnessReport, MethodFaithfulness, Recommendation, Sample
from asc_core.values import Estimate, PartValues, Plan, Provenance, Scores
from tests.plan.builders import layer_times_of, scores_of, shapes

ROOT = Path(__file__).resolve().parents[1]
# Reports for people. (The page reads the one on trust through a model of its own, which also takes older ones.)
WRITTEN_ALONE = {
    "Agreement",
    "ApplicationReport",
    "Check",
    "DeviceReport",
    "ExportReport",
    "Figure",
    "Fitted",
    "KeptRecipe",
    "MatrixScan",
    "MethodFaithfulness",
    "Option",
    "Settings",
    "Speed",
}


def classes() -> Iterator[tuple[str, str, set[str]]]:
    """(name, module, methods) of every class."""
    for file in [*ROOT.glob("asc_core/**/*.py"), *ROOT.glob("dashboard/**/*.py")]:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield node.name, module, {part.name for part in node.body if isinstance(part, ast.FunctionDef)}


FOUND = {name: module for name, module, methods in classes() if {"to_json", "from_json"} <= methods}

fractions, numbers, words = st.floats(0, 1), st.integers(0, 10**6), st.text(max_size=8)
ends = st.tuples(st.floats(-1, 1), st.floats(-1, 1))
plans = st.builds(
    lambda shape, seed, kept, origin: Plan(
        shape, (p := by_share(scores_of(shape, seed), *kept)).heads, p.neurons, p.layers, origin
    ),
    shapes(),
    st.integers(0, 99),
    st.tuples(fractions, fractions, fractions),
    st.builds(Provenance, *[st.none() | words] * 6, st.none() | numbers),
)


def of_kinds(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(["heads", "layers"]), values, max_size=2)


def of_all_kinds(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"heads": values, "layers": values})


curves = st.tuples(fractions, fractions)
agreements = st.builds(Agreement, numbers, fractions, st.none() | ends, fractions, st.none(), fractions, fractions)
reports = st.builds(
    FaithfulnessReport,
    words,
    words,
    st.builds(Sample, words, numbers),
    st.builds(Sample, words, numbers),
    of_kinds(fractions),
    of_all_kinds(curves),
    of_all_kinds(curves),
    of_all_kinds(st.tuples(curves, curves)),
    st.lists(
        st.builds(
            MethodFaithfulness,
            words,
            words,
            words,
            numbers,
            of_kinds(agreements),
            of_kinds(curves),
            of_kinds(st.none() | fractions),
            of_kinds(st.none() | ends),
        ),
        max_size=2,
    ).map(tuple),
    of_kinds(st.builds(Recommendation, st.none())),
)


def named(name: str) -> Any:
    return getattr(importlib.import_module(FOUND[name]), name)


STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "Shape": shapes(),
    "Plan": plans,
    "LatencyTable": st.builds(layer_times_of, shapes(), st.integers(0, 99)),
    "Estimate": st.builds(
        Estimate,
        words,
        fractions,
        ends,
        words,
        numbers,
        numbers,
        st.none() | st.floats(-1, 1),
        st.none() | ends,
        numbers,
        st.sampled_from(["single", "anytime"]),
    ),
    "Recipe": st.builds(Recipe.of, plans, st.booleans())
    | st.builds(Recipe.repaired, plans, st.sampled_from(["one-shot", "sequential"])),
    "CutSettings": st.deferred(
        lambda: st.builds(named("CutSettings"), application=words, method=words, keep=fractions)
    ),
    "FaithfulnessReport": reports,
}


def test_every_class_that_is_written_is_read_or_said_to_be_for_people() -> None:
    assert FOUND.keys() == STRATEGIES.keys()
    assert {name for name, _, methods in classes() if "to_json" in methods} - FOUND.keys() == WRITTEN_ALONE


@pytest.mark.parametrize("name", STRATEGIES)
@given(data=st.data())
def test_what_was_written_is_read_back(name: str, data: st.DataObject) -> None:
    value = data.draw(STRATEGIES[name])
    again = named(name).from_json(json.loads(json.dumps(value.to_json())))
    assert again == value
    assert again.to_json() == value.to_json()


@pytest.mark.parametrize(("looks", "valid"), [("one", "single"), ("any", "anytime")])
def test_an_estimate_of_an_older_study_is_read(looks: str, valid: str) -> None:
    estimate = Estimate("accuracy", 0.5, (0.4, 0.6), "test", 10, 20, valid=valid)  # type: ignore[arg-type]
    old = estimate.to_json() | {"looks": looks}
    del old["valid"]
    assert Estimate.from_json(old) == estimate


@pytest.mark.parametrize("change", [{"value": "high"}, {"interval": [0.1]}, {"more": 1}, {"valid": "often"}], ids=str)
def test_what_is_no_estimate_is_refused(change: dict[str, Any]) -> None:
    good = Estimate("accuracy", 0.5, (0.4, 0.6), "test", 10, 20).to_json()
    with pytest.raises(ValueError, match="Estimate"):
        Estimate.from_json(good | change)


arrays = st.lists(st.floats(-9, 9), min_size=1, max_size=4).map(np.array)
kinds = st.sampled_from(["heads", "neurons", "matrices", "vocabulary"])


@given(
    st.dictionaries(kinds, st.lists(arrays, min_size=1, max_size=12).map(tuple)),
    st.dictionaries(st.sampled_from(["attention", "ffn", "layers", "positions"]), arrays),
)
def test_scores_of_any_kind_of_part_are_read_back(inside: dict[str, Any], whole: dict[str, Any]) -> None:
    values = PartValues(**inside, **whole)
    again = PartValues.from_arrays(values.arrays())
    assert again.by_kind.keys() == values.by_kind.keys()
    for kind, expected in values.by_kind.items():
        assert isinstance(again.by_kind[kind], tuple) == isinstance(expected, tuple)
        for one, other in zip(again.by_kind[kind], expected, strict=True):
            np.testing.assert_array_equal(one, other)


@given(shapes(), st.integers(0, 9))
def test_scores_are_read_back(shape: Any, seed: int) -> None:
    scores = scores_of(shape, seed)
    again = Scores.from_arrays(*scores.to_arrays())
    assert again.to_arrays()[1] == scores.to_arrays()[1]
    for kind in ("heads", "neurons", "attention", "ffn", "layers"):
        np.testing.assert_equal(getattr(again.values, kind), getattr(scores.values, kind))
