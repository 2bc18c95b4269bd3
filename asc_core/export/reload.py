"""Load a model directory as a stranger would, and write down what it answers.

Run as a process of its own: `python reload.py REQUEST.json ANSWERS.safetensors`. It needs torch, transformers and
safetensors alone and never imports asc_core, so that what is checked is the directory and nothing else.
REQUEST.json: {"folder", "auto": name of the Auto class, "trust_remote_code", "texts": [[text, second text or null]],
"sequences": [[token id]], "max_length"}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

Text = tuple[str, str | None]
ROWS_PER_BATCH = 8


def answers(
    model: Any, tokenizer: Any, texts: Sequence[Text], sequences: Sequence[Sequence[int]], max_length: int
) -> dict[str, torch.Tensor]:
    """What a model says, in padded batches.

    Returns: for batch i "i.input_ids" and "i.attention_mask" (B, T), and "i.NAME" for every floating-point tensor of
    the model's output, padded positions set to 0.
    """
    said: dict[str, torch.Tensor] = {}
    for i, inputs in enumerate(_batches(model.config, tokenizer, texts, sequences, max_length)):
        with torch.inference_mode():
            output = model(**inputs)
        mask = inputs["attention_mask"]
        said[f"{i}.input_ids"], said[f"{i}.attention_mask"] = inputs["input_ids"], mask
        for name, value in output.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                if value.dim() >= 2 and value.shape[:2] == mask.shape:
                    value = value.masked_fill(mask.view(*mask.shape, *[1] * (value.dim() - 2)) == 0, 0.0)
                said[f"{i}.{name}"] = value.float().contiguous()
    return said


def _batches(
    config: Any, tokenizer: Any, texts: Sequence[Text], sequences: Sequence[Sequence[int]], max_length: int
) -> Iterator[dict[str, torch.Tensor]]:
    rows: list[tuple[list[int], list[int]]] = []
    for first, second in texts:
        encoded = tokenizer(first, second, truncation=True, max_length=max_length, return_token_type_ids=True)
        rows.append((list(encoded["input_ids"]), list(encoded["token_type_ids"])))
    rows += [(list(ids), [0] * len(ids)) for ids in sequences]
    typed = (getattr(config, "type_vocab_size", 0) or 0) > 1
    padding = tokenizer.pad_token_id or 0
    for start in range(0, len(rows), ROWS_PER_BATCH):
        batch = rows[start : start + ROWS_PER_BATCH]
        longest = max(len(ids) for ids, _ in batch)
        inputs = {
            "input_ids": [ids + [padding] * (longest - len(ids)) for ids, _ in batch],
            "attention_mask": [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch],
        }
        if typed:
            inputs["token_type_ids"] = [types + [0] * (longest - len(types)) for _, types in batch]
        yield {name: torch.tensor(value) for name, value in inputs.items()}


def load_and_answer(request: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Load with the Auto classes and say what `answers` says. Raises: ValueError where weights are missing or left."""
    folder, trust = request["folder"], request["trust_remote_code"]
    auto_class = getattr(transformers, request["auto"])
    model, loading = auto_class.from_pretrained(
        folder, trust_remote_code=trust, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[problem]:
            raise ValueError(
                f"its weights do not fit its configuration: {problem} {sorted(map(str, loading[problem]))}"
            )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    texts = [(first, second) for first, second in request["texts"]]
    return answers(model.eval(), tokenizer, texts, request["sequences"], request["max_length"])


if __name__ == "__main__":
    request_path, answers_path = sys.argv[1:]
    save_file(load_and_answer(json.loads(Path(request_path).read_text(encoding="utf-8"))), answers_path)
