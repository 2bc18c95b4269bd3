"""The texts of applications without what they are for: to look at a model with texts that it was not made for.

A cut for one application is tried on the model of another (the application matrix), and a cut for none looks at texts
of all. Scores and repairs that need no labels read only tokens, so any texts will do for any model.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from asc_core.errors import UserError
from asc_core.tasks.base import Batch, Examples, Features, Metric, Reader, Task
from asc_core.tasks.heads import can_answer
from asc_core.tasks.tokens import feature_inputs

TASK = "task"  # names the source of a row


class Texts(Task):
    """The texts of one or more tasks, for models with any head. Of several, about as many examples of each.

    There is nothing to learn, to decide or to measure here. Of tasks that lack a split their first one is read.
    """

    kind = "texts"
    head = "embedding"
    labelled = False
    metric = Metric("none", ("none",), from_sums=lambda sums: sums[..., 0])

    def __init__(self, *tasks: Task):
        if not tasks:
            raise ValueError("texts of no task at all")
        self.tasks = [unlabelled(task) for task in tasks]
        self.name = "texts of " + " + ".join(task.name for task in tasks)
        self.max_length = max(task.max_length for task in tasks)

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Examples:
        rows: list[Any] = []
        for number, task in enumerate(self.tasks):
            share = None if limit is None else (limit + number) // len(self.tasks)
            if share == 0:
                continue
            there = split if split in task.splits else task.splits[0]
            rows += [{TASK: number, "row": row} for row in task.examples(there, share, seed).rows]
        return Examples(rows, split, np.arange(len(rows)))

    def _reading(self) -> Any:
        return [task._reading() for task in self.tasks]

    def features(self, examples: Examples, reader: Reader) -> Features:
        ids: list[np.ndarray] = []
        types: list[np.ndarray | None] = []
        owners: list[int] = []
        truncated = 0
        for number, task in enumerate(self.tasks):
            places = [i for i, row in enumerate(examples.rows) if row[TASK] == number]
            if not places:
                continue
            mine = Examples([examples.rows[i]["row"] for i in places], examples.split, np.asarray(places))
            found = task.features(mine, reader)
            truncated += found.truncated
            for feature, example in enumerate(found.example):
                texts = [found.input_ids[feature]]
                if "first_length" in found.extra:  # two texts that are encoded apart
                    texts = np.split(texts[0], [found.extra["first_length"][feature]])
                for text in texts:
                    ids.append(text)
                    owners.append(places[int(example)])
                    types.append(None if found.token_types is None else found.token_types[feature])
        order = np.argsort(owners, kind="stable")
        token_types = None
        if any(one is not None for one in types):  # pairs have them; in a mix a single text is all of type 0
            token_types = [np.zeros_like(ids[i]) if (one := types[i]) is None else one for i in order]
        return Features([ids[i] for i in order], token_types, np.asarray(owners)[order], None, truncated)

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> Batch:
        return Batch(feature_inputs(features, rows, reader))

    def _nothing(self) -> NoReturn:
        raise UserError(f"{self.name} are texts alone: use a method that needs no labels, such as obs or asc-b.")

    def loss(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._nothing()

    def predict(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._nothing()

    def statistics(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._nothing()


def readable(reader: Reader, task: Task) -> Task:
    """The task, or its texts alone for a pre-trained encoder that is yet to get the task's head."""
    return task if can_answer(reader, task) else Texts(task)


def unlabelled(task: Task) -> Task:
    """The same task, which does not ask whether its labels are the model's."""
    blind = copy.copy(task)
    blind.labelled = False
    return blind
