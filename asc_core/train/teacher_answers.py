"""What a teacher says of each training text, asked once: all that soft targets need of it in later epochs.

Texts are answered in blocks that are the same whoever asks first, since the last bits of an answer depend on what it is
padded to: a run that was killed goes on with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.tasks.base import Batch, Features, Task
from asc_core.tasks.soft_targets import OUTPUTS

BLOCK = 64
MOST_BYTES = 512 << 20


class TeacherAnswers:
    """features: of the student, whose batches `translated` turns into the teacher's."""

    def __init__(
        self, teacher: Encoder, task: Task, features: Features, student: Encoder, translated: Callable[[Batch], Batch]
    ):
        self._teacher, self._task, self._features, self._student = teacher, task, features, student
        self._translated = translated
        order = np.argsort(features.lengths, kind="stable")
        self._blocks = np.array_split(order, max(1, -(-len(order) // BLOCK)))
        self._block_of = np.empty(len(order), dtype=np.int64)
        for number, rows in enumerate(self._blocks):
            self._block_of[rows] = number
        self._known: dict[int, dict[str, torch.Tensor]] = {}

    @property
    def is_small(self) -> bool:
        """Whether all answers fit into memory, by those to the longest texts."""
        last = self._blocks[-1]
        if not len(last):
            return True
        self._ask(len(self._blocks) - 1)
        each = sum(values.nbytes for values in self._known[int(last[-1])].values())
        return each * len(self._features) <= MOST_BYTES

    def of(self, rows: np.ndarray, length: int) -> Any:
        """The teacher's output on some features, those of tokens padded with zeros to a length."""
        for number in np.unique(self._block_of[rows]):
            self._ask(int(number))
        found = [self._known[int(row)] for row in rows]
        return SimpleNamespace(**{name: _padded([one[name] for one in found], length) for name in found[0]})

    def _ask(self, number: int) -> None:
        rows = self._blocks[number]
        if int(rows[0]) in self._known:
            return
        batch = self._translated(self._task.batch(self._features, rows, self._student))
        with torch.no_grad():
            output = self._teacher.model(**batch.inputs)
        lengths = self._features.lengths[rows]
        for place, row in enumerate(rows):
            self._known[int(row)] = _of_row(output, place, int(lengths[place]))


def _of_row(output: Any, place: int, length: int) -> dict[str, torch.Tensor]:
    """One row of each of `OUTPUTS`, without padding."""
    found = {}
    for name in OUTPUTS:
        values = getattr(output, name, None)
        if values is not None:
            of_tokens = values.dim() == 3 or name in ("start_logits", "end_logits")
            found[name] = (values[place, :length] if of_tokens else values[place]).clone()
    return found


def _padded(rows: Sequence[torch.Tensor], length: int) -> torch.Tensor:
    """Rows of a token or of a text each as one tensor; those of tokens get zeros behind them."""
    first = rows[0]
    if all(row.shape == first.shape for row in rows) and (first.dim() < 2 or len(first) == length):
        return torch.stack(list(rows))
    made = first.new_zeros(len(rows), length, *first.shape[1:])
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made
