"""What the labels in a file mean, and which output of a model each one is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asc_core.errors import UserError

_GENERIC = re.compile(r"(LABEL_)?\d+")
_SHOWN = 20


@dataclass(frozen=True)
class LabelSet:
    """The classes of a task.

    names: in the task's order. declared: the user or the dataset listed them, in the order of class indices;
    otherwise they were found in the data. indices: the data holds bare class indices, so names are only "0", "1", ...
    renamed: the name for each value of the file, where the task file maps them.
    """

    names: tuple[str, ...]
    declared: bool = False
    indices: bool = False
    renamed: Mapping[str, str] | None = None
    _known: dict[str, int | None] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def declare(labels: Mapping[str, str] | Sequence[str]) -> LabelSet:
        """From a list of names, or from a mapping of the file's values to names."""
        if isinstance(labels, Mapping):
            return LabelSet(tuple(dict.fromkeys(labels.values())), declared=True, renamed=dict(labels))
        return LabelSet(tuple(labels), declared=True)

    @staticmethod
    def discover(values: Iterable[Any]) -> LabelSet:
        """From all values in the data. Whole numbers from 0 on are class indices; "O" goes before all other tags."""
        found = {as_text(value) for value in values} - {""}
        if found and all(name.isdecimal() and str(int(name)) == name for name in found):
            numbers = sorted(map(int, found))
            if numbers[0] == 0 and numbers[-1] < 2 * len(numbers) + 8:
                return LabelSet(tuple(map(str, range(numbers[-1] + 1))), indices=True)
        return LabelSet(tuple(sorted(found, key=lambda name: (name != "O", name))))

    def __len__(self) -> int:
        return len(self.names)

    def index(self, value: Any) -> int | None:
        """The task's class for a value from the data, None where it is none of them."""
        text = as_text(value)
        if text not in self._known:
            self._known[text] = self._look_up(text)
        return self._known[text]

    def _look_up(self, text: str) -> int | None:
        if self.renamed is not None and text in self.renamed:
            return self.names.index(self.renamed[text])
        if text in self.names:
            return self.names.index(text)
        folded = [_fold(name) for name in self.names]
        if text and folded.count(_fold(text)) == 1:
            return folded.index(_fold(text))
        if self.declared and self.renamed is None and text.isdecimal() and int(text) < len(self.names):
            return int(text)
        return None


@dataclass(frozen=True)
class Match:
    """to_model: (classes of the task,) the model's output for each. note: what the user should know of it."""

    to_model: np.ndarray
    note: str = ""

    @property
    def to_task(self) -> dict[int, int]:
        return {int(output): index for index, output in enumerate(self.to_model)}


def match(labels: LabelSet, model_names: Sequence[str], task: str, model: str, what: str = "label") -> Match:
    """Which output of the model each class of the task is.

    By name, whatever the case; by position where the data holds bare class indices, or where the model's names are
    the generic LABEL_0, LABEL_1, ... and the order of the task's classes is given.
    Raises: UserError that shows both lists.
    """
    ours, theirs = [_fold(n) for n in labels.names], [_fold(n) for n in model_names]
    by_position = Match(np.arange(len(labels)))
    if labels.names == tuple(model_names):
        return by_position
    same_count = len(ours) == len(theirs)
    exact = {name: i for i, name in enumerate(model_names)}
    if all(name in exact for name in labels.names) and (same_count or not labels.declared) and not labels.indices:
        return Match(np.asarray([exact[name] for name in labels.names]))
    found_by_name = set(ours) <= set(theirs) and len(set(theirs)) == len(theirs) and len(set(ours)) == len(ours)
    if found_by_name and (same_count or not (labels.declared or labels.indices)):
        return Match(np.asarray([theirs.index(name) for name in ours]))
    if same_count and labels.indices:
        return by_position
    generic = all(_GENERIC.fullmatch(name) for name in model_names)
    if same_count and labels.declared and generic:
        names = ", ".join(f"{i} = {name}" for i, name in enumerate(labels.names[:_SHOWN]))
        return Match(
            by_position.to_model,
            f"The model {model} does not name its {what}s, so they were taken in the task's order: {names}.",
        )
    if not same_count:
        reason = f"the task has {len(ours)}, the model's head {len(theirs)}"
    elif generic:
        reason = (
            "the model's names are generic, so the task file must list its names in the order of the model's outputs"
        )
    else:
        unmatched = next(
            name for name, key in zip(labels.names, ours, strict=True) if ours.count(key) > 1 or key not in theirs
        )
        reason = f"the model knows no {unmatched!r}"
    key = "labels" if what == "label" else "slot_labels"
    raise UserError(
        f"The {what}s of the task {task} and of the model {model} do not match ({reason}); "
        f"task: {show(labels.names)}; model: {show(model_names)}; "
        f"map the file's values to the model's names under [{key}] in the task file, or "
        "use a model that was trained for this task."
    )


def as_text(value: Any) -> str:
    """A label as text: 1, 1.0, True and "1" are the same class."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        value = int(value)
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        if float(value).is_integer():
            value = int(value)
    return str(value).strip()


def show(names: Sequence[str]) -> str:
    """A list of names for a message, shortened where it is long."""
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return "[" + ", ".join(names[:_SHOWN]) + more + "]"


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())
