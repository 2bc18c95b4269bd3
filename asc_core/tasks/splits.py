"""Train, validation, test: which rows a task may use for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from asc_core.errors import UserError
from asc_core.tasks.sources import SPLIT_NAMES, Table

CUT_SHARE = 0.1
CUT_MOST = 1000


class Splits:
    """The splits of a task, each loaded when it is first asked for.

    Where there is a train split but no validation split, one is cut from train by seed: 10 % of the rows, at most
    1,000. Rows that agree in the `together` columns (the same texts; the same context of a question) all go to one
    side, so that nothing of the validation split stands in train.

    A task with a single split that is not train has nothing to keep apart; `only` says that this is known, and then
    every request is answered from that split, whose name the examples carry.
    """

    def __init__(
        self,
        name: str,
        loaders: Mapping[str, Callable[[], Table]],
        together: tuple[str, ...],
        seed: int = 0,
        only: str | None = None,
    ):
        if not loaders:
            raise UserError(f"The task {name} has no data: give train, validation or test under [data].")
        self._name, self._loaders, self._together, self._seed = name, dict(loaders), together, seed
        self._tables: dict[str, Table] = {}
        if len(self.names) == 1 and only not in self.names:
            lacks = "" if only is None else f", and no {only} split"
            raise UserError(
                f"The task {name} has only one split, {self.names[0]!r}{lacks}: say `--split {self.names[0]}` to use "
                "it for everything, or add a train split under [data]."
            )
        if only is not None and only not in self.names:
            raise UserError(f"The task {name} has no split {only!r}; it has {', '.join(self.names)}.")
        self._only = only if len(self.names) == 1 else None

    @property
    def names(self) -> tuple[str, ...]:
        given = list(self._loaders)
        if "train" in given and "validation" not in given:
            given.insert(given.index("train") + 1, "validation")
        return tuple(given)

    def resolve(self, split: str) -> str:
        """The name of the split that answers a request. Raises: UserError where there is none."""
        if self._only is not None:
            return self._only
        if split in SPLIT_NAMES["validation"] and split not in self.names:
            split = "validation"
        if split not in self.names:
            raise UserError(f"The task {self._name} has no {split} split; it has {', '.join(self.names)}.")
        return split

    def table(self, split: str) -> Table:
        """Raises: UserError where the split is missing or empty."""
        split = self.resolve(split)
        if split in ("train", "validation") and "validation" not in self._loaders:
            return self._cut[split]
        return self._loaded(split)

    def read_train(self) -> Table | None:
        """All of train as it was given, where it was read already, so that looking at it costs little."""
        return self._tables.get("train") if self._only is None else None

    def is_given(self, split: str) -> bool:
        """Whether a split was given, rather than cut from train."""
        return split in self._loaders

    def given(self) -> dict[str, Table]:
        """All splits as they were given, before anything is cut: for what is the same in all (names of classes)."""
        return {split: self._loaded(split) for split in self._loaders}

    def given_tables(self) -> list[Table]:
        return list(self.given().values())

    def _loaded(self, split: str) -> Table:
        if split not in self._tables:
            table = self._loaders[split]()
            if not len(table):
                raise UserError(f"{table.origin} has no rows: the {split} split of {self._name} is empty.")
            self._tables[split] = table
        return self._tables[split]

    @cached_property
    def _cut(self) -> dict[str, Table]:
        whole = self._loaded("train")
        keys = list(zip(*(whole.column(c) for c in self._together), strict=True))
        groups: dict[tuple[str, ...], list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(tuple(map(str, key)), []).append(index)
        members = list(groups.values())
        if len(members) < 2:
            raise UserError(
                f"{whole.origin} is too small to cut a validation split from it; give `validation` under [data]."
            )
        wanted = max(1, min(CUT_MOST, round(CUT_SHARE * len(whole))))
        order = np.random.default_rng(self._seed).permutation(len(members))
        chosen: list[int] = []
        for group in order[:-1]:
            if len(chosen) + len(members[group]) <= wanted or not chosen:
                chosen += members[group]
            if len(chosen) >= wanted:
                break
        chosen.sort()
        rest = np.setdiff1d(np.arange(len(whole)), chosen).tolist()
        return {"validation": whole.select(chosen), "train": whole.select(rest)}
