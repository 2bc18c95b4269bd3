"""Which output of a model a label of the data is."""

import pytest

from asc_core.errors import UserError
from asc_core.tasks.labels import LabelSet, flags_read_otherwise, match

NLI = ["entailment", "neutral", "contradiction"]
FOUND = LabelSet.discover


@pytest.mark.parametrize(
    ("labels", "model", "expected"),
    [
        pytest.param(
            FOUND(NLI), ["NEUTRAL", "ENTAILMENT", "CONTRADICTION"], [2, 1, 0], id="by name, whatever the case"
        ),
        pytest.param(LabelSet.declare(NLI), NLI[::-1], [2, 1, 0], id="declared order gives way to names"),
        pytest.param(FOUND(["a b", "c-d"]), ["c_d", "a_b"], [1, 0], id="spaces, hyphens and underscores are the same"),
        pytest.param(FOUND(["us", "US"]), ["us", "US"], [1, 0], id="exact names go first"),
        pytest.param(FOUND(["neutral", "entailment"]), NLI, [0, 1], id="the data need not have every class"),
        pytest.param(FOUND([0, 1, 2]), NLI, [0, 1, 2], id="bare indices"),
        pytest.param(FOUND(["0", "2"]), NLI, [0, 1, 2], id="bare indices with a gap"),
        pytest.param(LabelSet.declare(NLI), ["LABEL_0", "LABEL_1", "LABEL_2"], [0, 1, 2], id="declared, model unnamed"),
        pytest.param(LabelSet.declare({"0": "no", "1": "yes"}), ["yes", "no"], [1, 0], id="renamed, then by name"),
        pytest.param(FOUND([True, False]), ["True", "False"], [1, 0], id="truth values by name"),
        pytest.param(FOUND(["true", "false"]), ["neg", "pos"], [0, 1], id="truth values by position"),
        pytest.param(FOUND(["true", "false"]), ["yes", "no"], [1, 0], id="truth values by meaning"),
        pytest.param(FOUND(["yes", "no"]), ["False", "True"], [0, 1], id="and the other way"),
    ],
)
def test_labels_are_matched(labels: LabelSet, model: list[str], expected: list[int]) -> None:
    assert match(labels, model, "task", "model").to_model.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "model", "said"),
    [
        pytest.param(FOUND(["good", "bad"]), NLI, "task has 2, the model's head 3", id="another count"),
        pytest.param(LabelSet.declare(NLI[:2]), NLI, "task has 2, the model's head 3", id="declared, too few"),
        pytest.param(FOUND([0, 1]), NLI, "task has 2, the model's head 3", id="indices, too few"),
        pytest.param(FOUND([*NLI[:2], "contradicton"]), NLI, "knows no 'contradicton'", id="a typing error"),
        pytest.param(FOUND(NLI), ["LABEL_0", "LABEL_1", "LABEL_2"], "names are generic", id="no order known"),
        pytest.param(FOUND(["A", "a"]), ["a", "b"], "knows no 'A'", id="ambiguous without case"),
    ],
)
def test_a_mismatch_shows_both_lists(labels: LabelSet, model: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        match(labels, model, "mytask", "mymodel")
    text = str(error.value)
    assert said in text
    assert "mytask" in text
    assert "mymodel" in text
    for name in (*labels.names, *model):
        assert name in text


def test_an_unnamed_head_is_noted() -> None:
    assert "0 = entailment" in match(LabelSet.declare(NLI), ["LABEL_0", "LABEL_1", "LABEL_2"], "t", "m").note
    assert "2 = contradiction" in match(FOUND([0, 1, 2]), NLI, "t", "m").note
    assert not match(LabelSet.declare(NLI), NLI, "t", "m").note
    assert not match(FOUND([0, 1, 2]), ["0", "1", "2"], "t", "m").note


def test_long_lists_are_shortened() -> None:
    names = [f"intent{i}" for i in range(150)]
    with pytest.raises(UserError, match=r"\(151 in all\).*\(150 in all\)"):
        match(LabelSet.declare([*names, "oos"]), names, "t", "m")


@pytest.mark.parametrize(
    ("labels", "value", "expected"),
    [
        pytest.param(LabelSet.declare({"0": "no", "1": "yes"}), "1", 1, id="renamed"),
        pytest.param(LabelSet.declare({"0": "no", "1": "yes"}), 1.0, 1, id="a float that is whole"),
        pytest.param(LabelSet.declare({"0": "no", "1": "yes"}), "yes", 1, id="already the name"),
        pytest.param(LabelSet.declare({"0": "no", "1": "yes"}), "2", None, id="not in the mapping"),
        pytest.param(LabelSet.declare(["no", "yes"]), 1, 1, id="a class index"),
        pytest.param(LabelSet.declare(["no", "yes"]), -1, None, id="minus one is no class"),
        pytest.param(LabelSet.declare(["no", "yes"]), True, 1, id="a truth value"),
        pytest.param(LabelSet.declare(["no", "yes"]), "YES", 1, id="another case"),
        pytest.param(LabelSet.declare(["no", "yes"]), None, None, id="nothing"),
        pytest.param(LabelSet.declare({"false": "no", "true": "yes"}), True, 1, id="a truth value by its JSON name"),
        pytest.param(LabelSet.declare({"False": "no", "True": "yes"}), "true", 1, id="as Python writes it"),
        pytest.param(LabelSet.declare({"0": "no", "1": "yes"}), "True", 1, id="a truth value as text"),
        pytest.param(LabelSet.declare({"0.0": "no", "1.0": "yes"}), 0.0, 0, id="renamed as a float"),
        pytest.param(
            LabelSet.declare({"0.0": "no", "1.0": "yes"}), "0", 0, id="renamed as a float, an int in the file"
        ),
        pytest.param(LabelSet.declare(["no", "yes"]), "1.0", 1, id="a class index as a table writes it"),
        pytest.param(LabelSet.declare(["no", "yes"]), "1" * 5000, None, id="a number of thousands of digits"),
        pytest.param(FOUND(["true", "false"]), False, 0, id="truth values found in the data"),
        pytest.param(LabelSet.declare(["no", "yes"]), float("nan"), None, id="not a number"),
    ],
)
def test_values_of_the_data(labels: LabelSet, value: object, expected: int | None) -> None:
    assert labels.index(value) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(["b", "a", "b"], ("a", "b"), id="names are sorted"),
        pytest.param(["10", "2", "0", "1"], tuple(map(str, range(11))), id="indices are counted, not sorted as text"),
        pytest.param(["I-x", "O", "B-x"], ("O", "B-x", "I-x"), id="O goes first"),
        pytest.param([1, 2, 3, 4, 5], ("1", "2", "3", "4", "5"), id="numbers not from 0 are names"),
        pytest.param([0, 100000], ("0", "100000"), id="wide gaps are names"),
        pytest.param(["0.0", "1.0", "2"], ("0", "1", "2"), id="whole numbers as a table writes them"),
        pytest.param(["True"], ("false", "true"), id="truth values, even if one is missing"),
        pytest.param(["true", "false", "mixed"], ("false", "mixed", "true"), id="truth values among names are names"),
        pytest.param([["a"], "b"], ("b",), id="a list is no label"),
        pytest.param(["1" * 5000, "b"], ("1" * 5000, "b"), id="a number of thousands of digits"),
    ],
)
def test_classes_are_found_in_the_data(values: list, expected: tuple[str, ...]) -> None:
    assert LabelSet.discover(values).names == expected


@pytest.mark.parametrize(
    ("labels", "values", "said"),
    [
        pytest.param(LabelSet.declare(["neg", "pos"]), [True, False, True], "false = neg, true = pos", id="bools"),
        pytest.param(LabelSet.declare(["neg", "pos"]), ["0.0", "1.0"], "0.0 = neg, 1.0 = pos", id="decimals of a CSV"),
        pytest.param(LabelSet.declare({"0": "neg", "1": "pos"}), [1.0], "1.0 = pos", id="decimals, renamed"),
        pytest.param(LabelSet.declare(["yes", "no"]), ["True", "False"], "False = no, True = yes", id="by meaning"),
        pytest.param(LabelSet.declare({"true": "neg", "false": "pos"}), ["True", "false"], "", id="as the file says"),
        pytest.param(LabelSet.declare(["no", "yes"]), ["yes", "No"], "", id="names"),
        pytest.param(LabelSet.declare(["neg", "pos"]), ["pos", "0", 1], "", id="names and class numbers"),
        pytest.param(LabelSet.declare(["neg", "pos"]), ["maybe", 0.5, None, float("nan"), [1]], "", id="no labels"),
    ],
)
def test_how_truth_values_and_decimals_were_matched_is_said(labels: LabelSet, values: list, said: str) -> None:
    found = labels.read_otherwise(values)
    assert found == (f"Labels of the data were read as {said}." if said else "")


def test_flags_in_columns_that_are_no_0_and_1_are_said() -> None:
    assert flags_read_otherwise(["yes", "no", "1.0", 0, "1"]) == (
        "Labels of the data were read as 1.0 = 1, no = 0, yes = 1."
    )
    assert flags_read_otherwise([0, 1, "0", "1"]) == ""
