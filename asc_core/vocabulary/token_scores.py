"""Rows of the word embedding as parts with scores: use, general frequency, and what their pieces would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.tasks.base import Task
from asc_core.vocabulary.general_order import GeneralOrder, general_order
from asc_core.vocabulary.respelling import respelling_effects, row_distance
from asc_core.vocabulary.token_model import TokenModel, token_model
from asc_core.vocabulary.use import token_counts

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class TokenScores:
    """What is known of each row of a word embedding.

    model: the tokenizer's tokens. split: the one that rows are chosen by. counts: split -> (rows,) how often each is
    used. general: by general frequency. effects: see `respelling_effects`, of tokens that the texts use; None where
    they were not asked for. width: numbers in a row.
    """

    model: TokenModel
    split: str
    counts: Mapping[str, np.ndarray]
    general: GeneralOrder
    width: int
    effects: Mapping[int, float] | None = None

    @property
    def used(self) -> np.ndarray:
        """(rows,) counts of the split that rows are chosen by."""
        return self.counts[self.split]

    @property
    def rows(self) -> int:
        return len(self.used)

    @property
    def worth(self) -> dict[int, float] | None:
        """Token -> effect times count: what its texts would lose of it, to first order; None without effects."""
        if self.effects is None:
            return None
        return {token: effect * float(self.used[token]) for token, effect in self.effects.items()}

    def coverage(self, kept: list[int], split: str | None = None) -> float:
        """Share of a split's tokens, each as often as it stands there, whose rows are kept."""
        counts = self.counts[split or self.split]
        return float(counts[kept].sum() / max(counts.sum(), 1))

    def to_frame(
        self,
        kept: list[int] | None = None,
        distances: Mapping[int, float] | None = None,
        most: int | None = None,
    ) -> pandas.DataFrame:
        """One row a token: token, needed, stays (with `kept`), a column of counts a split, general_rank (1 = the most
        frequent), pieces, and distance and effect where they are known.

        most: not all of them by number, but that many of those that can go, the most used and most frequent first.
        """
        import pandas

        names, ranks = self.model.names, self.general.ranks
        numbers = [number for number in range(self.rows) if number in names]
        if most is not None:
            free, used = [number for number in numbers if number in ranks], np.sum(list(self.counts.values()), axis=0)
            numbers = sorted(free, key=lambda number: (-used[number], ranks[number]))[:most]
        stays = set(kept or ())
        columns: dict[str, object] = {"token": [names[number] for number in numbers]}
        if kept is not None:
            columns["stays"] = [number in stays for number in numbers]
        columns["needed"] = [number in self.model.needed for number in numbers]
        for split, counts in self.counts.items():
            columns[split] = counts[numbers]
        columns["general_rank"] = [ranks[number] + 1 if number in ranks else None for number in numbers]
        if kept is not None:
            columns["pieces"] = ["" if n in stays else self._spelled(n, stays) for n in numbers]
        for name, known in (("distance", distances), ("effect", self.effects)):
            if known is not None:
                columns[name] = [known.get(number) for number in numbers]
        return pandas.DataFrame(columns, index=pandas.Index(numbers, name="id"))

    def _spelled(self, token: int, stays: set[int]) -> str:
        pieces = self.model.pieces(token, stays.__contains__)
        return " ".join(self.model.names[piece] for piece in pieces) if pieces else "(unknown)"


def token_scores(
    encoder: Encoder,
    task: Task,
    *,
    margin_texts: str = "",
    splits: tuple[str, ...] = (),
    effects: bool = False,
    progress: Progress | None = None,
) -> TokenScores:
    """Scores of an encoder's tokens on an application.

    Args:
        margin_texts: a text file of general language; "" = the tokenizer's own order.
        splits: that are counted beside the one that models are made by.
        effects: whether to run the model on every used token's respelling: two short texts a token.

    Raises:
        UserError: where the tokenizer's vocabulary cannot be shortened, a file cannot be read, or the task's texts.
        Cancelled: while effects are measured.
    """
    model, split = token_model(encoder.tokenizer), task.training_split
    counts = {one: token_counts(encoder, task, one) for one in dict.fromkeys((split, *splits))}
    general = general_order(encoder.tokenizer, model, counts[split], margin_texts)
    found = None
    if effects:
        free = [token for token in np.flatnonzero(counts[split]).tolist() if token not in model.needed]
        found = respelling_effects(encoder, task, model, free, progress=progress)
    width = modeling.width_of(encoder.model.get_input_embeddings())
    return TokenScores(model, split, counts, general, width, found)


def distances(encoder: Encoder, scores: TokenScores) -> dict[int, float]:
    """`row_distance` of every token that the tokenizer can do without."""
    return row_distance(encoder, scores.model, [t for t in scores.general.tokens if t < scores.rows])
