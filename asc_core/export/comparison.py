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
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.errors import UserError
from asc_core.export.answer.with_transformers import Batch, Text, outputs_of, tokens_of
from asc_core.export.fresh_process import run_alone
from asc_core.export.graph import TEXT_VECTOR, pooling_of
from asc_core.modeling import Packing
from asc_core.progress import Progress
from asc_core.tasks.soft_targets import OUTPUTS, changed_answers

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

MOST_TEXTS = 64
MOST_TOKENS = 256
LONGEST = 512
# Where inputs are rounded: a number on the edge of two steps may fall to either side, and all behind it follows, so
# that two computations of one model differ like two roundings do. Share of the outputs' largest; of the texts.
ROUNDED, LEAST_EQUAL = 0.05, 0.98
# Where the model in memory rounds as the runtime does, texts of few tokens mostly have no number on such an edge, and
# then both differ like floats: 22 to 24 of 24 texts by less than 1e-6 of the largest output, on minilm-sick,
# minilm-squad and the demo's intents and nli. Of 208 planted corruptions of minilm-sick and the demo's nli (a layer, a
# matrix, a row, scales, a bias, zero points, a bit of a code), the limits above pass 32, this share 17: 12 of 16 single
# bits, and 5 that change no answer (the bias of keys, a zero point that is 0).
SHORT_TEXTS, SHORT_TOKENS, LEAST_EXACT = 24, 2, 0.25
# Longer texts then only have to show that positions and padding are right. Of honest graphs the largest difference was
# 12 % (minilm-squad, where 80 % of the answers to the own sentences, which ask nothing, are equal).
ROUNDED_ALIKE, LEAST_EQUAL_ALIKE = 0.25, 0.5
NOT_EXPORTED = "so nothing was exported"
_OF_TEXTS = ("tokens.", "types.")
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
    """max_difference: the largest between any two numbers of the outputs, the model in memory against the reloaded.

    tolerance: what it had to stay below. equal: share of the texts with equal answers, where that was asked, too.
    rounds: whether inputs are rounded. short: see `check_short_texts`, where the model in memory rounds them, too.
    """

    max_difference: float
    texts: int
    tolerance: float = 0.0
    equal: float | None = None
    rounds: bool = False
    short: float | None = None


@dataclass(frozen=True)
class Questions:
    """What both models are asked. texts: to split into tokens, at most `max_length`. batches: to answer."""

    texts: Sequence[Text]
    max_length: int
    batches: Sequence[Batch]


def questions_for(
    encoder: Encoder, texts: Sequence[str | Sequence[str]] | None = None, longest: int = LONGEST
) -> Questions:
    """The texts (own sentences by default), random tokens and batches of odd shapes, of at most `longest` tokens."""
    pairs, max_length = normal_texts(texts), min(encoder.max_length, MOST_TOKENS, longest)
    tokens = tokens_of(encoder.tokenizer, pairs, max_length)
    rows = [(tokens[f"tokens.{j}"].tolist(), tokens[f"types.{j}"].tolist()) for j in range(len(pairs))]
    odd = _odd_batches(encoder, min(encoder.max_length, longest))
    batches = [*_batches(encoder, [*rows, *_random_rows(encoder)]), *odd, *_short_batches(encoder)]
    return Questions(pairs, max_length, batches)


def answers_in_memory(
    encoder: Encoder, questions: Questions, packing: Packing | None = None, pooled: bool = False
) -> dict[str, torch.Tensor]:
    """Tokens and outputs, as an answering script writes them; with `packing`, of the model with weights packed so.

    pooled: also each text's vector, made of its hidden states.
    """
    model = encoder.model if encoder.device.type == "cpu" else copy.deepcopy(encoder.model).cpu()
    if packing is not None:
        model = _packed(model, packing)
    found = outputs_of(model, questions.batches)
    pooling, skip = pooling_of(encoder)
    if pooled and pooling is not None:
        for i, batch in enumerate(questions.batches):
            mask = torch.tensor(batch["attention_mask"])
            with torch.inference_mode():
                vectors = pooling.embed(found[f"{i}.last_hidden_state"], mask, skip)
            found[f"{i}.{TEXT_VECTOR}"] = vectors.contiguous()
    return tokens_of(encoder.tokenizer, questions.texts, questions.max_length) | found


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
    pooled: bool = False,
    rounds: bool = False,
    texts: Sequence[str | Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Let `script` answer from `folder` in a fresh process, and compare with the encoder in memory.

    Besides the texts, random token sequences are compared, and batches of odd shapes: one token, one text as long as
    the model takes (at most `LONGEST`), and both in one batch, almost all of which is padding; then texts
    of two tokens, each alone.
    script, request: one of `asc_core.export.answer`, and what it needs to know beside the folder. packing: what is
    stored must answer like the model with weights packed so, within `tolerance`; the reported difference is to the
    model as it is in memory. pooled: whether it answers with a text's vector, too.
    rounds: whether the runtime rounds inputs, in which case more is `allowed`, and answers have to be equal. Where the
    model in memory rounds them, too, short texts tell (`check_short_texts`).
    Raises: UserError where it cannot be loaded, tokenises otherwise or differs by `tolerance` or more; Cancelled.
    """
    alike = modeling.rounds_inputs(encoder.model)
    rounds = rounds or alike
    questions = questions_for(encoder, texts)
    asked = {"folder": str(folder), **questions.__dict__, **request}
    found = answers_of_fresh_process(script, asked, (progress or Progress()).cancel)
    expected = answers_in_memory(encoder, questions, pooled=pooled)
    difference = exact = difference_of(expected, found, questions.batches)
    stored = expected
    if changes(encoder.model, packing):
        stored = answers_in_memory(encoder, questions, packing, pooled)
        exact = difference_of(stored, found, questions.batches)
    most = allowed(stored, tolerance, alike) if rounds else tolerance
    if not exact < most:  # also where it is not a number
        raise UserError(
            "The exported model does not answer like the one in memory (largest difference of the outputs "
            f"{exact:.2g}, allowed {most:.0e}), so nothing was exported."
        )
    short = None
    if alike:
        short = check_short_texts(stored, found, questions.batches, tolerance, "The exported model", NOT_EXPORTED)
    equal, least = equal_answers(stored, found, questions) if rounds else None, least_equal(alike)
    if equal is not None and equal < least:
        raise UserError(
            f"The exported model answers only {equal:.1%} of {len(questions.texts)} texts like the one in memory "
            f"(at least {least:.0%} are asked for), so nothing was exported."
        )
    return Comparison(difference, len(questions.texts), most, equal, rounds, short)


def check_short_texts(
    expected: Mapping[str, torch.Tensor],
    found: Mapping[str, torch.Tensor],
    batches: Sequence[Batch],
    tolerance: float,
    who: str,
    so: str,
) -> float:
    """Of the texts of `SHORT_TOKENS` tokens, a share of `LEAST_EXACT` has to differ by less than `tolerance`.

    tolerance: as where nothing is rounded. who, so: begin and end of the sentence. Returns: the share.
    Raises: UserError where it is less, and where there are no such texts.
    """
    short = [i for i, batch in enumerate(batches) if [len(row) for row in batch["input_ids"]] == [SHORT_TOKENS]]
    exact = 0
    for number in short:
        of_one = [
            {name: value for name, value in answers.items() if name.startswith(f"{number}.")}
            for answers in (expected, found)
        ]
        exact += difference_of(of_one[0], of_one[1], batches, so) < tolerance
    if not short or exact < LEAST_EXACT * len(short):
        raise UserError(
            f"{who} does not answer like the one in memory: of {len(short)} texts of {SHORT_TOKENS} tokens, only "
            f"{exact} differ by less than {tolerance:.0e} (at least {LEAST_EXACT:.0%} are asked for), {so}."
        )
    return exact / len(short)


def least_equal(alike: bool) -> float:
    """Share of the texts whose answers have to be equal. alike: as for `allowed`."""
    return LEAST_EQUAL_ALIKE if alike else LEAST_EQUAL


def allowed(expected: Mapping[str, torch.Tensor], tolerance: float, alike: bool = False) -> float:
    """How far outputs may be apart where inputs are rounded.

    tolerance: where they are not. alike: whether the model in memory rounds them, too, so that `check_short_texts`
    finds what is wrong.
    """
    outputs = [value for name, value in expected.items() if not name.startswith(_OF_TEXTS)]
    largest = max(
        (float(value[value.isfinite()].abs().max()) for value in outputs if value.isfinite().any()), default=0
    )
    return max(tolerance, (ROUNDED_ALIKE if alike else ROUNDED) * largest)


def equal_answers(
    expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], questions: Questions
) -> float | None:
    """Share of the texts whose decisions (classes, tags of tokens, ends of spans) are all equal.

    None where the outputs decide nothing (numbers, embeddings).
    """
    equal, decides, left = 0, False, len(questions.texts)
    for number, batch in enumerate(questions.batches):
        mask = torch.tensor(batch["attention_mask"]).bool()
        said, wanted = (_outputs_of(answers, number) for answers in (found, expected))
        rows = min(left, len(mask))  # the texts come first, then what is random
        left -= rows
        if not rows:
            break
        decides = decides or any(getattr(wanted, name, torch.empty(0)).shape[-1:] > (1,) for name in OUTPUTS)
        equal += int((~changed_answers(said, wanted, mask)[:rows]).sum())
    return equal / len(questions.texts) if decides and questions.texts else None


def _outputs_of(answers: Mapping[str, torch.Tensor], number: int) -> SimpleNamespace:
    start = f"{number}."
    return SimpleNamespace(**{n.removeprefix(start): value for n, value in answers.items() if n.startswith(start)})


def changes(model: Any, packing: Packing) -> bool:
    """Whether packing rounds any tensor of a model."""
    return any(packing.pack(tensor) is not tensor for tensor in model.state_dict().values())


def _packed(model: Any, packing: Packing) -> Any:
    """A copy whose stored tensors went through `packing`; what a model computes for itself (rotary angles) did not."""
    copied = copy.deepcopy(model)
    copied.load_state_dict({name: packing.unpacked(tensor) for name, tensor in model.state_dict().items()})
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


def _odd_batches(encoder: Encoder, longest: int) -> Iterable[Batch]:
    rows = [_random_row(encoder, length, seed=length) for length in (1, longest)]
    for together in ([rows[0]], [rows[1]], rows):
        yield from _batches(encoder, together)


def _short_batches(encoder: Encoder) -> Iterable[Batch]:
    for number in range(SHORT_TEXTS):
        yield from _batches(encoder, [_random_row(encoder, SHORT_TOKENS, seed=1000 + number)])


def _random_row(encoder: Encoder, length: int, seed: int) -> tuple[list[int], list[int]]:
    draw, config = random.Random(seed), encoder.model.config
    # Positions of some encoders are counted over the tokens that are not padding.
    allowed = [i for i in range(min(int(config.vocab_size), 1 << 20)) if i != config.pad_token_id]
    return draw.choices(allowed, k=length), [0] * length


def answers_of_fresh_process(
    script: Path, request: Mapping[str, Any], cancel: threading.Event, so: str = NOT_EXPORTED
) -> dict[str, torch.Tensor]:
    """so: what follows of it that there are none."""
    with tempfile.TemporaryDirectory(prefix="asc-compare-") as scratch:
        request_path, answers_path = Path(scratch) / "request.json", Path(scratch) / "answers.safetensors"
        request_path.write_text(json.dumps(request), encoding="utf-8")
        last_line = run_alone(script, [str(request_path), str(answers_path)], Path(scratch), cancel)
        if not answers_path.exists():
            raise UserError(f"The exported model cannot be loaded again, {so}: {last_line}.")
        return load_file(answers_path)


def difference_of(
    expected: Mapping[str, torch.Tensor],
    found: Mapping[str, torch.Tensor],
    batches: Sequence[Mapping[str, list[list[int]]]],
    so: str = NOT_EXPORTED,
) -> float:
    """The largest over all outputs that are no padding; not a number where a shape or a number is wrong.

    Raises: UserError where tokens differ, or which outputs there are; so: what follows of that.
    """
    tokens = {name: value for name, value in expected.items() if name.startswith(_OF_TEXTS)}
    for name, value in tokens.items():
        if name not in found or not torch.equal(value, found[name]):
            raise UserError(f"The exported tokenizer splits texts otherwise than the one in memory, {so}.")
    if expected.keys() != found.keys():
        raise UserError(
            f"The exported model answers with other outputs ({_outputs(found)}) than the one in memory "
            f"({_outputs(expected)}), {so}."
        )
    largest = 0.0
    for name in expected.keys() - tokens.keys():
        value = expected[name]
        if value.shape != found[name].shape:
            return float("nan")
        off = (value - found[name]).abs()
        mask = torch.tensor(batches[int(name.partition(".")[0])]["attention_mask"]).bool()
        of_tokens = off.shape[:2] == mask.shape and not name.endswith(TEXT_VECTOR)
        off = off[mask] if of_tokens else off
        if name.endswith(TEXT_VECTOR):  # of a text that is shorter than the prompt there may be nothing to pool
            off = off[value.isfinite().all(-1)]
        if off.numel():
            difference = off.max().item()
            if difference != difference:
                return difference
            largest = max(largest, difference)
    return largest


def _outputs(answers: Iterable[str]) -> str:
    return ", ".join(sorted({name.partition(".")[2] for name in answers if not name.startswith(_OF_TEXTS)}))
