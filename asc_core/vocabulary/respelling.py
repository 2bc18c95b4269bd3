"""What it does to the model when a word is spelled in smaller pieces, since its own row is gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.evaluate.features import tokenised
from asc_core.progress import Progress
from asc_core.tasks.base import Features, Task
from asc_core.vocabulary.token_model import TokenModel

ROWS_A_BATCH = 32


def row_distance(encoder: Encoder, model: TokenModel, tokens: Iterable[int]) -> dict[int, float]:
    """Squared distance between a token's row and the mean of its pieces' rows, over the mean squared norm of rows.

    In closed form from the table alone, so it knows neither how the layers read several pieces nor how often a token
    is used; `respelling_effects` looks at the outputs. Infinite where nothing spells the token.
    """
    table = modeling.whole_table(encoder.model.get_input_embeddings()).float()
    usual = float(table.square().sum(1).mean()) or 1.0
    found: dict[int, float] = {}
    for token in tokens:
        pieces = model.pieces(token)
        found[token] = float((table[token] - table[pieces].mean(0)).square().sum()) / usual if pieces else float("inf")
    return found


def respelling_effects(
    encoder: Encoder,
    task: Task,
    model: TokenModel,
    tokens: Sequence[int],
    *,
    texts: int = 1,
    split: str | None = None,
    progress: Progress | None = None,
) -> dict[int, float]:
    """Mean squared change of the outputs, when a token's every occurrence in a text is spelled in its pieces.

    Measured on the shortest `texts` texts of the split that contain the token, each with this token alone respelled and
    all others there: what tokens that go together do to each other is left out. Of outputs for the whole text the
    squares are summed; of outputs for each token they are summed and averaged over the tokens that stay in place.
    Times its count it is what a token is worth to the application, to first order. Infinite where nothing spells the
    token; a token that no text contains is left out.

    Raises: UserError as the task does; Cancelled between two batches.
    """
    progress = progress or Progress()
    _, features = tokenised(encoder, task, split or task.training_split)
    jobs = _respelled(model, features, tokens, texts, encoder.max_length)
    jobs.sort(key=lambda one: len(one.after))
    sums: dict[int, list[float]] = {}
    for begin in range(0, len(jobs), ROWS_A_BATCH):
        progress.step(begin, len(jobs), "tokens respelled")
        part = jobs[begin : begin + ROWS_A_BATCH]
        before = _outputs(encoder, [one.before for one in part], [one.types_before for one in part])
        after = _outputs(encoder, [one.after for one in part], [one.types_after for one in part], longer=1)
        for row, one in enumerate(part):
            sums.setdefault(one.token, []).append(_change(before, after, row, one))
    found = {token: float(np.mean(values)) for token, values in sums.items()}
    return found | {token: float("inf") for token in tokens if model.pieces(token) is None}


@dataclass(frozen=True)
class _Respelled:
    """before, after: token ids. places: (kept, 2), where each token that stays stands before and after."""

    token: int
    before: np.ndarray
    after: np.ndarray
    types_before: np.ndarray | None
    types_after: np.ndarray | None
    places: np.ndarray


def _respelled(
    model: TokenModel, features: Features, tokens: Sequence[int], texts: int, longest: int
) -> list[_Respelled]:
    """The texts of each token, shortest first; a text that would grow too long is left out."""
    spelled = {token: model.pieces(token) for token in tokens}
    waiting = {token: texts for token, pieces in spelled.items() if pieces}
    found: list[_Respelled] = []
    for number in np.argsort(features.lengths, kind="stable").tolist():
        ids = features.input_ids[number]
        for token in dict.fromkeys(ids.tolist()):
            if waiting.get(token, 0) <= 0:
                continue
            pieces = spelled[token]
            assert pieces is not None
            times = np.where(ids == token, len(pieces), 1)
            if int(times.sum()) > longest:
                continue
            waiting[token] -= 1
            types = None if features.token_types is None else features.token_types[number]
            found.append(_one(token, ids, types, times, pieces))
    return found


def _one(token: int, ids: np.ndarray, types: np.ndarray | None, times: np.ndarray, pieces: list[int]) -> _Respelled:
    after = np.repeat(ids, times)
    begins = np.cumsum(times) - times
    for place in np.flatnonzero(ids == token):
        after[begins[place] : begins[place] + len(pieces)] = pieces
    stay = np.flatnonzero(ids != token)
    moved = None if types is None else np.repeat(types, times)
    return _Respelled(token, ids, after, types, moved, np.stack([stay, begins[stay]], 1))


def _outputs(
    encoder: Encoder, ids: Sequence[np.ndarray], types: Sequence[np.ndarray | None], longer: int = 0
) -> dict[str, torch.Tensor]:
    """What the model says, floating-point tensors alone. longer: padding beyond the longest text."""
    length = max(map(len, ids)) + longer
    inputs = {"input_ids": _padded(ids, length, encoder.tokenizer.pad_token_id or 0)}
    inputs["attention_mask"] = _padded([np.ones_like(one) for one in ids], length, 0)
    if all(one is not None for one in types):
        inputs["token_type_ids"] = _padded([one for one in types if one is not None], length, 0)
    with torch.inference_mode():
        said: Any = encoder.forward({name: value.to(encoder.device) for name, value in inputs.items()})
    found = {
        name: value.float().cpu()
        for name, value in said.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    return {"states": found["last_hidden_state"]} if encoder.head == "embedding" else found


def _padded(rows: Sequence[np.ndarray], length: int, value: int) -> torch.Tensor:
    filled = np.full((len(rows), length), value, np.int64)
    for row, one in zip(filled, rows, strict=True):
        row[: len(one)] = one
    return torch.from_numpy(filled)


def _change(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], row: int, one: _Respelled) -> float:
    """`after` is padded to another length than `before`, so outputs for each token are those of another shape."""
    total = 0.0
    for name, whole in before.items():
        old, new = whole[row], after[name][row]
        if old.shape == new.shape:
            total += float((new - old).square().sum())
        elif len(one.places):
            there, here = one.places.T
            total += float((new[here] - old[there]).square().sum()) / len(one.places)
    return total
