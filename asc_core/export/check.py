"""Does a model directory answer like the model in memory? Asked in a fresh process, before an export is called good."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from asc_core.errors import Cancelled, UserError
from asc_core.export import reload
from asc_core.export.reload import Text, answers
from asc_core.progress import Progress

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

TOLERANCE = 1e-4
MOST_TEXTS = 64
MOST_TOKENS = 256
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
class Checked:
    """max_difference: the largest between any two numbers of the outputs, the model in memory against the reloaded."""

    max_difference: float
    texts: int


def normal_texts(texts: Sequence[str | Sequence[str]] | None) -> list[Text]:
    """(text, second text or None) each, of single texts and pairs; own sentences where none are given."""
    if texts is None:
        return list(TEXTS)
    return [(t, None) if isinstance(t, str) else (t[0], t[1]) for t in texts[:MOST_TEXTS]]


def check_folder(
    folder: Path,
    encoder: Encoder,
    *,
    auto: str,
    trust_remote_code: bool,
    texts: Sequence[str | Sequence[str]] | None = None,
    rounded: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Reload `folder` with transformers alone in a fresh process and compare its answers with the encoder's.

    Besides the texts, random token sequences are compared, so that the whole vocabulary is covered.
    auto: name of the Auto class to load with. rounded: the type in which the weights are stored; what is stored must
    then answer like the model with weights rounded to it, within the same tolerance, and the reported difference
    includes the rounding.
    Raises: UserError where it cannot be loaded, tokenises otherwise or differs by `TOLERANCE` or more; Cancelled.
    """
    progress = progress or Progress()
    pairs = normal_texts(texts)
    sequences = _random_sequences(encoder)
    max_length = min(encoder.max_length, MOST_TOKENS)
    model = encoder.model
    if encoder.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    expected = answers(model, encoder.tokenizer, pairs, sequences, max_length)
    request = {
        "folder": str(folder),
        "auto": auto,
        "trust_remote_code": trust_remote_code,
        "texts": pairs,
        "sequences": sequences,
        "max_length": max_length,
    }
    got = answers_of_fresh_process(request, progress.cancel)
    difference = exact = _largest_difference(expected, got)
    if rounded is not None:
        exact = _largest_difference(
            answers(_rounded(model, rounded), encoder.tokenizer, pairs, sequences, max_length), got
        )
    if not exact < TOLERANCE:  # also where it is not a number
        raise UserError(
            "The exported model does not answer like the one in memory (largest difference of the outputs "
            f"{exact:.2g}, allowed {TOLERANCE:.0e}), so nothing was exported."
        )
    return Checked(difference, len(pairs))


def _rounded(model: Any, dtype: torch.dtype) -> Any:
    """A copy whose stored tensors went through `dtype`; what a model computes for itself (rotary angles) did not."""
    copied = copy.deepcopy(model)
    state = copied.state_dict()
    copied.load_state_dict({n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()})
    return copied


def _random_sequences(encoder: Encoder, rows: int = 8) -> list[list[int]]:
    draw = random.Random(0)
    longest = min(encoder.max_length, 48)
    vocabulary = int(encoder.model.config.vocab_size)
    padding = (
        encoder.model.config.pad_token_id
    )  # positions of some encoders are counted over the tokens that are not it
    allowed = [i for i in range(min(vocabulary, 1 << 20)) if i != padding]
    return [[draw.choice(allowed) for _ in range(max(1, longest * (i + 1) // rows))] for i in range(rows)]


def answers_of_fresh_process(request: dict[str, Any], cancel: threading.Event) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory(prefix="asc-check-") as scratch:
        request_path, answers_path = Path(scratch) / "request.json", Path(scratch) / "answers.safetensors"
        request_path.write_text(json.dumps(request), encoding="utf-8")
        said = run_alone(Path(reload.__file__), [str(request_path), str(answers_path)], Path(scratch), cancel)
        if not answers_path.exists():
            raise UserError(f"The exported model cannot be loaded again, so nothing was exported: {said}.")
        return load_file(answers_path)


def run_alone(script: Path, arguments: list[str], scratch: Path, cancel: threading.Event) -> str:
    """Run a script of this package in a fresh process that sees nothing of asc_core, and wait for its end.

    Returns: the last line of what it wrote to standard error. Raises: Cancelled, after ending it.
    """
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(scratch / "modules"),  # code that transformers copies there leaves with the scratch
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    log_path = scratch / "errors.txt"
    with log_path.open("wb") as log:
        # -P: the script's own folder is not on the path.
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), *arguments],
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            while True:
                try:
                    process.wait(timeout=0.1)
                    break
                except subprocess.TimeoutExpired:
                    if cancel.is_set():
                        raise Cancelled(script.stem) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"it ended with code {process.returncode}"


def _largest_difference(expected: dict[str, torch.Tensor], got: dict[str, torch.Tensor]) -> float:
    if expected.keys() != got.keys():
        raise UserError(
            f"The exported model answers with other outputs ({_outputs(got)}) than the one in memory "
            f"({_outputs(expected)}), so nothing was exported."
        )
    largest = 0.0
    for name, value in expected.items():
        if name.endswith((".input_ids", ".attention_mask")):
            if not torch.equal(value, got[name]):
                raise UserError(
                    "The exported tokenizer splits texts otherwise than the one in memory; nothing was exported."
                )
        elif value.shape != got[name].shape:
            return float("nan")
        elif value.numel():
            difference = (value - got[name]).abs().max().item()
            largest = difference if difference > largest or difference != difference else largest
            if largest != largest:
                return largest
    return largest


def _outputs(answers: dict[str, torch.Tensor]) -> str:
    return ", ".join(sorted({name.split(".", 1)[1] for name in answers} - {"input_ids", "attention_mask"}))
