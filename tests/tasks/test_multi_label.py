"""The forms that files have for any number of labels: names, flags in a list, flags in columns."""

from typing import Any

import pytest

from asc_core.errors import UserError
from asc_core.tasks import Task, task_from_rows
from tests.tiny import tiny

NAMES = ["joy", "anger", "fear"]
GOLD = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]
FORMS = {
    "names": lambda flags: [name for name, flag in zip(NAMES, flags, strict=True) if flag],
    "text": lambda flags: ", ".join(name for name, flag in zip(NAMES, flags, strict=True) if flag),
    "as pandas writes names": lambda flags: str([name for name, flag in zip(NAMES, flags, strict=True) if flag]),
    "flags": lambda flags: flags,
    "floats": lambda flags: list(map(float, flags)),
    "truth values": lambda flags: list(map(bool, flags)),
    "flags as JSON text": lambda flags: str(flags),
    "flags as NumPy text": lambda flags: "[" + " ".join(map(str, flags)) + "]",
    "flags with commas": lambda flags: ",".join(map(str, flags)),
}


def _task(values: list[Any], **options: Any) -> Task:
    rows = [{"text": f"cat {'sat ' * i}", "labels": value} for i, value in enumerate(values)]
    fields = {"texts": ["text"], "label": "labels"}
    return task_from_rows("t", "multi-label", fields, {"train": lambda: rows, "test": lambda: rows}, **options)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("listed", [True, False])
def test_every_form_says_the_same(form: str, listed: bool) -> None:
    task = _task([FORMS[form](flags) for flags in GOLD], labels=NAMES if listed else None)
    encoder = tiny(labels=NAMES, problem_type="multi_label_classification")
    features = task.features(task.examples("test"), encoder)
    assert features.targets is not None
    assert [target.tolist() for target in features.targets] == GOLD
    assert any("read as a 0 or 1 for each label" in note for note in features.notes) == (
        "flags" in form or form in ("floats", "truth values")
    )


def test_lists_of_class_numbers_stay_class_numbers() -> None:
    task = _task([[0, 2], [], [1], [0]])
    features = task.features(task.examples("test"), tiny(labels=NAMES, problem_type="multi_label_classification"))
    assert features.targets is not None
    assert [target.tolist() for target in features.targets] == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_flags_for_another_number_of_labels_are_told() -> None:
    with pytest.raises(UserError, match=r"row 1: .* has 2 entries of 0 or 1, but there are 3 labels"):
        _task([[1, 0], [0, 0]], labels=NAMES).examples("test")


@pytest.mark.parametrize(
    ("yes", "no"), [(1, 0), ("1", "0"), ("1.0", "0.0"), (True, False), ("True", "false"), ("yes", "No"), ("Y", "n")]
)
def test_flags_in_columns(yes: Any, no: Any) -> None:
    rows = [{"text": "cat", **{n: yes if f else no for n, f in zip(NAMES, flags, strict=True)}} for flags in GOLD]
    splits = {"train": lambda: rows, "test": lambda: rows}
    task = task_from_rows("t", "multi-label", {"texts": ["text"], "label": NAMES}, splits)
    features = task.features(task.examples("test"), tiny(labels=NAMES, problem_type="multi_label_classification"))
    assert features.targets is not None
    assert [target.tolist() for target in features.targets] == GOLD
