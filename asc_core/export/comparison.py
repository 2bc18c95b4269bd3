"""Does a model directory answer like the model in memory? Asked in a fresh process, before an export is called good."""

from __future__ import annotations

import copy
import json
import random
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from asc_core.errors import UserError
from asc_core.export.answer.with_transformers import Batch, Text, outputs_of, tokens_of
from asc_core.export.fresh_process import run_alone
from asc_core.modeling import Packing
from asc_core.progress import Progress

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

MOST_TEXTS = 64
MOST_TOKENS = 256
LONGEST = 512
ROWS_PER_BATCH = 8
TEXTS: tuple[Text, ...] = (
    ("Good.", None),
    ("Who wrote this book, and when was it first printed?", None),
    ("The river flows through three countries before it reaches the sea.", None),
    ("play some quiet music in the kitchen at 7 pm", None),
    ("A film that is neither as clever nor as moving as it would like to be, but never dull.", None),
    ("Berlin (3,677,472 inhabitants) lies on the Spree; its area is 891.7 km².", None),
    (
        "What is the capital of Peru?",
        "Lima, the capital and largest city of Peru, lies in the valleys of three rivers.",
    ),
    ("A man is playing a guitar.", "Nobody is playing an instrument."),
    ("Çok teşekkürler! Добрый день. こんにちは世界。", None),
    ("How can I reset my password?", "I forgot my password: what do I have to do?"),
)


@dataclass(frozen=True)
class Comparison:
    """max_difference: the largest between any two numbers of the outputs, the model in memory against the reloaded."""

    max_difference: float
    texts: int


def normal_texts(texts: Sequence[str | Sequence[str]] | None) -> list[Text]:
    """(text, second text or None) each, of single texts and pairs; own sentences where none are given."""
    if texts is None:
        return list(TEXTS)
    return [(t, None) if isinstance(t, str) else (t[0], t[1]) for t in texts[:MOST_TEXTS]]


def compare_folder(
    folder: Path,
    encoder: Encoder,
    *,
    script: Path,
    request: Mapping[str, Any],
    tolerance: float,
    packing: Packing,
    texts: Sequence[str | Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Let `script` answer from `folder` in a fresh process, and compare with the encoder in memory.

    Besides the texts, random token sequences are compared, so that the whole vocabulary is covered, and batches of odd
    shapes: one token, one text as long as the model takes (at most `LONGEST`).
    script, request: one of `asc_core.export.answer`, and what it needs to know beside the folder. packing: what is
    stored must answer like the model with weights packed so, within `tolerance`; the reported difference is to the
    model as it is in memory.
    Raises: UserError where it cannot be loaded, tokenises otherwise or differs by `tolerance` or more; Cancelled.
    """
    pairs = normal_texts(texts)
    max_length = min(encoder.max_length, MOST_TOKENS)
    model = encoder.model if encoder.device.type == "cpu" else copy.deepcopy(encoder.model).cpu()
    tokens = tokens_of(encoder.tokenizer, pairs, max_length)
    rows = [(tokens[f"tokens.{j}"].tolist(), tokens[f"types.{j}"].tolist()) for j in range(len(pairs))]
    batches = [*_batches(encoder, [*rows, *_random_rows(encoder)]), *_odd_batches(encoder)]
    asked = {"folder": str(folder), "texts": pairs, "max_length": max_length, "batches": batches, **request}
    found = answers_of_fresh_process(script, asked, (progress or Progress()).cancel)
    _require_same_tokens(tokens, found)
    said = {name: value for name, value in found.items() if name not in tokens}
    expected = outputs_of(model, batches)
    difference = exact = _largest_difference(expected, said, batches)
    packed = _packed(model, packing)
    if packed is not None:
        exact = _largest_difference(outputs_of(packed, batches), said, batches)
    if not exact < tolerance:  # also where it is not a number
        raise UserError(
            "The exported model does not answer like the one in memory (largest difference of the outputs "
            f"{exact:.2g}, allowed {tolerance:.0e}), so nothing was exported."
        )
    return Comparison(difference, len(pairs))


def _packed(model: Any, packing: Packing) -> Any | None:
    """A copy whose stored tensors went through `packing`; what a model computes for itself (rotary angles) did not.

    None where packing changes nothing.
    """
    state = model.state_dict()
    changed = {name: packing.pack(tensor).to(tensor.dtype) for name, tensor in state.items()}
    if all(changed[name] is state[name] for name in state):
        return None
    copied = copy.deepcopy(model)
    copied.load_state_dict(changed)
    return copied


def _batches(encoder: Encoder, rows: Sequence[tuple[list[int], list[int]]]) -> Iterable[Batch]:
    """(token ids, token types) of texts in padded batches."""
    typed = encoder.type_vocab_size > 1
    padding = encoder.tokenizer.pad_token_id or 0
    padding = padding if padding < encoder.tokens else 0
    for start in range(0, len(rows), ROWS_PER_BATCH):
        some = rows[start : start + ROWS_PER_BATCH]
        longest = max(len(ids) for ids, _ in some)
        batch = {
            "input_ids": [ids + [padding] * (longest - len(ids)) for ids, _ in some],
            "attention_mask": [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in some],
        }
        if typed:
            batch["token_type_ids"] = [types + [0] * (longest - len(types)) for _, types in some]
        yield batch


def _random_rows(encoder: Encoder, rows: int = 8) -> list[tuple[list[int], list[int]]]:
    longest = min(encoder.max_length, 48)
    return [_random_row(encoder, max(1, longest * (i + 1) // rows), seed=i) for i in range(rows)]


def _odd_batches(encoder: Encoder) -> Iterable[Batch]:
    for length in (1, min(encoder.max_length, LONGEST)):
        yield from _batches(encoder, [_random_row(encoder, length, seed=length)])


def _random_row(encoder: Encoder, length: int, seed: int) -> tuple[list[int], list[int]]:
    draw, config = random.Random(seed), encoder.model.config
    # Positions of some encoders are counted over the tokens that are not padding.
    allowed = [i for i in range(min(int(config.vocab_size), 1 << 20)) if i != config.pad_token_id]
    return draw.choices(allowed, k=length), [0] * length


def answers_of_fresh_process(
    script: Path, request: Mapping[str, Any], cancel: threading.Event
) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory(prefix="asc-compare-") as scratch:
        request_path, answers_path = Path(scratch) / "request.json", Path(scratch) / "answers.safetensors"
        request_path.write_text(json.dumps(request), encoding="utf-8")
        last_line = run_alone(script, [str(request_path), str(answers_path)], Path(scratch), cancel)
        if not answers_path.exists():
            raise UserError(f"The exported model cannot be loaded again, so nothing was exported: {last_line}.")
        return load_file(answers_path)


def _require_same_tokens(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    for name, value in expected.items():
        if name not in found or not torch.equal(value, found[name]):
            raise UserError(
                "The exported tokenizer splits texts otherwise than the one in memory; nothing was exported."
            )


def _largest_difference(
    expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], batches: Sequence[Batch]
) -> float:
    """Over all that is no padding; not a number where a shape or a number is wrong."""
    if expected.keys() != found.keys():
        raise UserError(
            f"The exported model answers with other outputs ({_outputs(found)}) than the one in memory "
            f"({_outputs(expected)}), so nothing was exported."
        )
    largest = 0.0
    for name, value in expected.items():
        if value.shape != found[name].shape:
            return float("nan")
        off = (value - found[name]).abs()
        mask = torch.tensor(batches[int(name.partition(".")[0])]["attention_mask"]).bool()
        off = off[mask] if off.shape[:2] == mask.shape else off
        if off.numel():
            difference = off.max().item()
            if difference != difference:
                return difference
            largest = max(largest, difference)
    return largest


def _outputs(answers: Iterable[str]) -> str:
    return ", ".join(sorted({name.partition(".")[2] for name in answers}))
