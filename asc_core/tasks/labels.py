"""What the labels in a file mean, and which output of a model each one is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asc_core.errors import UserError

HIDDEN = "-1"
_GENERIC = re.compile(r"(LABEL_)?\d+")
_SHOWN = 20
_WHOLE = re.compile(r"([+-]?\d{1,15})\.0+")
_FLAGS = {"true": "1", "false": "0"}
_FLAG_WORDS = _FLAGS | {"yes": "1", "no": "0", "y": "1", "n": "0", "t": "1", "f": "0"}


@dataclass(frozen=True)
class LabelSet:
    """The classes of a task.

    names: in the task's order. declared: the user or the dataset listed them, in the order of class indices;
    otherwise they were found in the data. indices: the data holds bare class indices (or true and false), so names
    are only "0", "1", ... renamed: the name for each value of the file, where the task file maps them. note: what had
    to be guessed to find them.
    """

    names: tuple[str, ...]
    declared: bool = False
    indices: bool = False
    renamed: Mapping[str, str] | None = None
    note: str = ""
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
        found = {as_text(value) for value in values if is_scalar(value)} - {""}
        if found and all(name.casefold() in _FLAGS for name in found):
            return LabelSet(("false", "true"), indices=True)
        keys = {as_key(name) for name in found}
        if keys and all(key.isdecimal() and len(key) < 10 and str(int(key)) == key for key in keys):
            numbers = sorted(map(int, keys))
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
        if self.renamed is not None:
            if text in self.renamed:
                return self.names.index(self.renamed[text])
            same = [name for value, name in self.renamed.items() if as_key(value) == as_key(text)]
            if text and same:
                return self.names.index(same[0])
        if text in self.names:
            return self.names.index(text)
        for alike in (_fold, as_key):
            names = [alike(name) for name in self.names]
            if text and names.count(alike(text)) == 1:
                return names.index(alike(text))
        key = as_key(text)
        flag = _FLAG_WORDS.get(text.casefold())
        flags = [_FLAG_WORDS.get(name.casefold()) for name in self.names]
        if flag is not None and len(flags) == 2 and set(flags) == {"0", "1"}:
            return flags.index(flag)  # true is yes, wherever it stands in the list
        listed = self.declared and self.renamed is None
        if listed and key.isdecimal() and len(key) < 10 and int(key) < len(self.names):
            return int(key)
        return None

    def read_otherwise(self, values: Iterable[Any]) -> str:
        """How truth values and decimals were matched with names or values that are written otherwise, "" where none."""
        found: dict[str, str] = {}
        for value in values:
            written = _written(value)
            index = self.index(value) if written and written not in found else None
            if index is None or _fold(written) in (_fold(self.names[index]), *map(_fold, self.renamed or ())):
                continue
            found[written] = self.names[index]
        return _said(found)


def flags_read_otherwise(values: Iterable[Any]) -> str:
    """How 0 and 1 in columns were read where they are written otherwise, "" where they are not."""
    written = {_written(value) for value in values} - {""}
    return _said({text: str(as_flag(text)) for text in written if as_flag(text) is not None})


def _said(found: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{written} = {read}" for written, read in sorted(found.items()))
    return f"Labels of the data were read as {pairs}." if pairs else ""


def _written(value: Any) -> str:
    """A truth value or a whole number with decimals as a file has it, "" for anything else."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return str(float(value)) if float(value).is_integer() else ""
    text = value.strip() if isinstance(value, str) else ""
    return text if _WHOLE.fullmatch(text) or text.casefold() in _FLAG_WORDS else ""


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
    the generic LABEL_0, LABEL_1, ... and the order of the task's classes is given: then a note says so.
    Raises: UserError that shows both lists.
    """
    ours, theirs = [_fold(n) for n in labels.names], [_fold(n) for n in model_names]
    if labels.names == tuple(model_names):
        return Match(np.arange(len(labels)))
    same_count = len(ours) == len(theirs)
    exact = {name: i for i, name in enumerate(model_names)}
    if all(name in exact for name in labels.names) and (same_count or not labels.declared) and not labels.indices:
        return Match(np.asarray([exact[name] for name in labels.names]))
    found_by_name = set(ours) <= set(theirs) and len(set(theirs)) == len(theirs) and len(set(ours)) == len(ours)
    if found_by_name and (same_count or not (labels.declared or labels.indices)):
        return Match(np.asarray([theirs.index(name) for name in ours]))
    keys = [as_key(name) for name in labels.names]
    if same_count and labels.indices and set(keys) == {as_key(name) for name in model_names}:  # "true" is "True" is 1
        return Match(np.asarray([[as_key(name) for name in model_names].index(key) for key in keys]))
    meant = [_FLAG_WORDS.get(name.casefold()) for name in labels.names]
    means = [_FLAG_WORDS.get(name.casefold()) for name in model_names]
    if all(len(side) == 2 and set(side) == {"0", "1"} for side in (meant, means)):  # "true" is "yes"
        places = [means.index(flag) for flag in meant]
        names = ", ".join(f"{name} = {model_names[place]}" for name, place in zip(labels.names, places, strict=True))
        return Match(np.asarray(places), f"The {what}s in the data were matched with the model's by meaning: {names}.")
    if same_count and labels.indices:
        names = ", ".join(
            f"{ours} = {theirs}" for ours, theirs in zip(labels.names, model_names[:_SHOWN], strict=False)
        )
        return Match(
            np.arange(len(labels)),
            f"The {what}s in the data have no names, so they were taken for the positions of the model's outputs: "
            f"{names}{', ...' if len(labels) > _SHOWN else ''}.",
        )
    generic = all(_GENERIC.fullmatch(name) for name in model_names)
    if same_count and labels.declared and generic:
        names = ", ".join(f"{i} = {name}" for i, name in enumerate(labels.names[:_SHOWN]))
        return Match(
            np.arange(len(labels)),
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


def as_key(text: str) -> str:
    """One text for all spellings of a whole number or a truth value: "1", "1.0", "true" and "True" are the same."""
    text = text.strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else _FLAGS.get(text.casefold(), text)


def as_flag(value: Any) -> int | None:
    """0 or 1 from whatever a file writes for it (also true and false, yes and no), None where it is neither."""
    text = as_key(as_text(value))
    return {"0": 0, "1": 1}.get(_FLAG_WORDS.get(text.casefold(), text))


def is_scalar(value: Any) -> bool:
    """Whether a value can be a label: a text, a number or a truth value."""
    return value is None or isinstance(value, str | int | float | np.generic)


def is_hidden(value: Any) -> bool:
    """Whether it is what public test sets have in place of labels."""
    return is_scalar(value) and as_text(value) == HIDDEN


def show(names: Sequence[str]) -> str:
    """A list of names for a message, shortened where it is long."""
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return "[" + ", ".join(names[:_SHOWN]) + more + "]"


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())
