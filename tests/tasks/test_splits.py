"""Which rows a task may use for what."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.tasks import task_from_rows
from asc_core.tasks.kinds import rows_table
from asc_core.tasks.sources import Table
from asc_core.tasks.splits import Splits


def _loader(texts: list[str]) -> Callable[[], Table]:
    return lambda: rows_table([{"text": text, "n": i} for i, text in enumerate(texts)], "memory")


def _splits(texts: list[str], seed: int = 0) -> Splits:
    return Splits("t", {"train": _loader(texts), "test": _loader(["x"])}, ("text",), seed)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=200).filter(lambda v: len(set(v)) > 1), st.integers(0, 5))
def test_the_validation_cut_shares_no_text_with_train_and_loses_no_row(values: list[int], seed: int) -> None:
    splits = _splits([str(v) for v in values], seed)
    train, validation = splits.table("train"), splits.table("validation")
    assert not {r["text"] for r in train.rows} & {r["text"] for r in validation.rows}
    assert sorted(r["n"] for table in (train, validation) for r in table.rows) == list(range(len(values)))


def test_a_tenth_is_cut_and_at_most_a_thousand() -> None:
    assert len(_splits([str(i) for i in range(500)]).table("validation")) == 50
    assert len(_splits([str(i) for i in range(20_000)]).table("validation")) == 1000


def test_the_cut_depends_on_the_seed_alone() -> None:
    def cut(seed: int) -> list[int]:
        return [r["n"] for r in _splits([str(i) for i in range(300)], seed).table("validation").rows]

    assert cut(0) == cut(0) == sorted(cut(0))
    assert cut(0) != cut(1)


def test_rows_of_a_cut_still_know_where_they_stand() -> None:
    validation = _splits([str(i) for i in range(100)]).table("validation")
    assert validation.where(0) == f"memory, row {validation.rows[0]['n'] + 1}"


def test_a_given_validation_split_is_taken_as_it_is() -> None:
    loaders = {"train": _loader(["a", "b"]), "validation": _loader(["c"])}
    splits = Splits("t", loaders, ("text",))
    assert splits.names == ("train", "validation")
    assert [r["text"] for r in splits.table("train").rows] == ["a", "b"]


def test_only_what_is_asked_for_is_loaded() -> None:
    def fail() -> Table:
        raise AssertionError("loaded")

    splits = Splits("t", {"train": fail, "test": _loader(["x"])}, ("text",))
    assert len(splits.table("test")) == 1


def test_a_single_split_must_be_asked_for() -> None:
    with pytest.raises(UserError, match=r"only one split, 'test': say `--split test`"):
        Splits("t", {"test": _loader(["x"])}, ("text",))
    with pytest.raises(
        UserError, match=r"'test', and no train split: say `--split test`"
    ):  # `asc score` asks for train
        Splits("t", {"test": _loader(["x"])}, ("text",), only="train")


def test_a_single_split_answers_every_request_under_its_own_name() -> None:
    task = task_from_rows(
        "t", "text-classification", {"texts": ["text"]}, {"test": lambda: [{"text": "a"}]}, split="test"
    )
    assert task.splits == ("test",)
    assert [task.examples(split).split for split in ("train", "validation", "test")] == ["test"] * 3


@pytest.mark.parametrize(
    ("texts", "split", "said"),
    [
        (["a", "b"], "shifted", "has no shifted split; it has train, validation, test"),
        ([], "train", "the train split of t is empty"),
        (["a", "a"], "train", "too small to cut a validation split"),
    ],
    ids=["missing", "empty", "too small"],
)
def test_what_cannot_be_had(texts: list[str], split: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _splits(texts).table(split)


def test_samples_are_drawn_by_seed_and_nested() -> None:
    rows = [{"text": str(i)} for i in range(60)]
    task = task_from_rows(
        "t", "text-classification", {"texts": ["text"]}, {"train": lambda: rows, "test": lambda: rows}
    )
    small, large = task.examples("test", 10, seed=3), task.examples("test", 20, seed=3)
    assert small.numbers.tolist() == large.numbers[:10].tolist()
    assert len(set(large.numbers.tolist())) == 20
    assert [r["text"] for r in small.rows] == [str(n) for n in small.numbers]
    assert small.numbers.tolist() != task.examples("test", 10, seed=4).numbers.tolist()
    whole = task.examples("test", 100)
    assert np.array_equal(whole.numbers, np.arange(60))
    part = whole.subset([5, 2])
    assert [r["text"] for r in part.rows] == ["5", "2"]
    assert part.numbers.tolist() == [5, 2]
