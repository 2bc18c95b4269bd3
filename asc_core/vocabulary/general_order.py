"""Which tokens general text uses most: by a text file of the user's, or by the order that the tokenizer itself has.

Without any text, frequency is read off the tokenizer: byte-pair encoding merges frequent pairs first, a Unigram model
holds log-probabilities, and WordPiece vocabularies are mostly written most frequent first. The last is a habit and no
rule: one that was sorted, or put together by hand, has no such order. So the order is compared with the counts of the
application's own texts, and the rank correlation stands beside every use of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from asc_core.errors import UserError
from asc_core.tasks.text_file import MOST_BYTES, is_readable
from asc_core.vocabulary.token_model import TokenModel

LINES_AT_ONCE = 1024
LEAST_COMPARED = 30  # tokens that a correlation is said of
UNORDERED = 0.2  # a rank correlation below this is no order to go by
_PLACEHOLDER = re.compile(r"[\[<]\/?(unused|reserved|extra_id)[^\]>]*[\]>]|madeupword\d+", re.IGNORECASE)
_ORIGIN = {"WordPiece": "order of ids", "BPE": "order of merges", "Unigram": "log-probabilities"}


@dataclass(frozen=True)
class GeneralOrder:
    """tokens: those that the tokenizer can do without, the most frequent in general text first, placeholders last.

    origin: what says so, in words. agreement: Spearman's rank correlation with how often the application uses those of
    them that it uses, 1 = the same order; None where it uses fewer than 30. compared: how many these are. from_text:
    whether a text says it, so that nothing is assumed.
    """

    tokens: tuple[int, ...]
    origin: str
    agreement: float | None
    compared: int
    from_text: bool

    @property
    def ranks(self) -> dict[int, int]:
        """Token -> place, 0 = the most frequent."""
        return {token: rank for rank, token in enumerate(self.tokens)}

    @property
    def note(self) -> str:
        """What the order rests on, and how well it fits the application, in sentences."""
        assumed = "" if self.from_text else "Assumed: the tokenizer's own order is that of general frequency. "
        if self.agreement is None:
            return (
                f"{assumed}General frequency is by {self.origin}; the application uses too few of these tokens "
                f"({self.compared}) to compare it with."
            )
        said = (
            f"{assumed}General frequency is by {self.origin}; its rank correlation with the application's own counts "
            f"is {self.agreement:.2f} on {self.compared:,} tokens"
        )
        if self.agreement >= UNORDERED:
            return f"{said}."
        other = "another text" if self.from_text else "a text file of general language (margin_texts)"
        return f"{said}, so it is little better than chance: name {other}."


def general_order(tokenizer: Any, model: TokenModel, counts: np.ndarray, texts: str = "") -> GeneralOrder:
    """The order of a tokenizer's tokens by how frequent they are in general.

    counts: (rows,) of the application's texts, to compare with. texts: a text file, "" = the tokenizer's own order.
    Raises: UserError where the file cannot be read.
    """
    own = _own_order(model)
    places = {token: place for place, token in enumerate(own)}
    if texts:
        found = counts_in_file(tokenizer, texts)
        key = {token: -float(found.get(token, 0)) for token in own}
        tokens = sorted(own, key=lambda token: (key[token], places[token]))
        origin = f"the counts in {Path(texts).name}"
    else:
        key, tokens, origin = (
            {t: float(p) for t, p in places.items()},
            own,
            f"the tokenizer's own {_ORIGIN[model.kind]}",
        )
    agreement, compared = _agreement(key, counts, model)
    return GeneralOrder(tuple(tokens), origin, agreement, compared, bool(texts))


def _own_order(model: TokenModel) -> list[int]:
    """Without those that the tokenizer needs: they stay anyway."""
    free = [token for token in sorted(model.ids.values()) if token not in model.needed]
    if model.kind == "Unigram":
        free.sort(key=lambda token: -model.log_probability(token))
    elif model.kind == "BPE":
        merged = {token: place for place, token in enumerate(model.halves)}  # of insertion: by the earliest merge
        free.sort(key=lambda token: merged.get(token, len(merged)))
    return sorted(free, key=lambda token: _PLACEHOLDER.fullmatch(model.names[token]) is not None)


def _agreement(key: dict[int, float], counts: np.ndarray, model: TokenModel) -> tuple[float | None, int]:
    used = [token for token in np.flatnonzero(counts).tolist() if token in key]
    if len(used) < LEAST_COMPARED:
        return None, len(used)
    correlation = float(spearmanr([-key[token] for token in used], counts[used]).statistic)
    return (correlation if np.isfinite(correlation) else 0.0), len(used)


def counts_in_file(tokenizer: Any, path: str) -> dict[int, int]:
    """Token -> how often it stands in a text file (UTF-8), read line by line. Raises: UserError."""
    if not is_readable(path):
        raise UserError(
            f"There is no text file {path!r} of at most {MOST_BYTES >> 20} MB to count general frequency in: name one."
        )
    facts = Path(path).stat()
    return _counted(_Same(tokenizer), path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=8)
def _counted(same: _Same, path: str, changed: int, size: int) -> dict[int, int]:
    counts: dict[int, int] = {}
    try:
        with Path(path).open(encoding="utf-8") as file:
            for lines in _batches(file):
                ids = same.tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"]
                numbers, times = np.unique(
                    np.concatenate([np.zeros(0, int), *map(np.asarray, ids)]), return_counts=True
                )
                for number, often in zip(numbers.astype(int).tolist(), times.tolist(), strict=True):
                    counts[number] = counts.get(number, 0) + often
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}): name a plain text file.") from None
    if not counts:
        raise UserError(f"{path} holds no text to count general frequency in: name another.")
    return counts


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(lines, LINES_AT_ONCE)):
        yield batch


class _Same:
    """A tokenizer as a key: two are the same where they are one object."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.tokenizer is self.tokenizer

    def __hash__(self) -> int:
        return id(self.tokenizer)
