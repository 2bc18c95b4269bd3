"""Which rows of the word embedding stay: those that are used, a margin of general language, within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from asc_core.errors import UserError
from asc_core.vocabulary.token_model import TokenModel


@dataclass(frozen=True)
class Budget:
    """How many rows may stay: at most one of a number, a share of all rows, and megabytes (10^6 bytes, float32)."""

    rows: int | None = None
    share: float | None = None
    megabytes: float | None = None

    def in_rows(self, rows: int, width: int) -> int | None:
        """rows, width: of the whole table. None where there is no budget."""
        if self.rows is not None:
            return self.rows
        if self.share is not None:
            return floor(self.share * rows)
        return None if self.megabytes is None else floor(self.megabytes * 1e6 / (4 * width))


def kept_rows(
    model: TokenModel,
    counts: np.ndarray,
    general: Sequence[int],
    *,
    least: int = 1,
    margin: int = 0,
    most: int | None = None,
    worth: Mapping[int, float] | None = None,
) -> list[int]:
    """Old numbers of the rows that stay, ascending. The same arguments give the same rows.

    What the tokenizer needs stays. Then come the first `margin` tokens of general language that the texts lack, then
    the tokens of the texts, then, with `most` rows, further ones of general language until these are full. A token of
    byte-pair encoding brings those that it is merged of; the first one that does not fit ends it, so that what stays
    with a smaller `most` is a part of what stays with a larger one.

    Args:
        counts: (rows,) how often the texts use each.
        general: tokens that the tokenizer can do without, the most frequent in general first.
        least: times that a token has to be used to be one of the texts' tokens.
        most: rows at most; None = as many as that makes.
        worth: of used tokens, which of them stay first; by default how often they are used.

    Raises:
        UserError: where fewer rows are allowed than the tokenizer needs.
    """
    kept = {token for token in model.with_parts(model.needed) if token < len(counts)}
    if most is not None and most < len(kept):
        raise UserError(
            f"The tokenizer cannot do without {len(kept):,} tokens (special ones, single characters), so at most "
            f"{most:,} rows is too few: allow {len(kept):,} or more."
        )
    ranks = {token: rank for rank, token in enumerate(general) if token < len(counts)}
    value = worth if worth is not None else dict(enumerate(counts.tolist()))
    used = [token for token in ranks if counts[token] >= max(least, 1)]
    used.sort(key=lambda token: (-value.get(token, 0.0), ranks[token]))
    among = set(used)
    others = [token for token in ranks if token not in among]
    wanted = [*others[:margin], *used, *(others[margin:] if most is not None else ())]
    for token in wanted:
        more = model.with_parts({token}) - kept if token not in kept else set()
        if most is not None and len(kept) + len(more) > most:
            break
        kept |= more
    return sorted(kept)
