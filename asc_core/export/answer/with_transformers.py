"""Answer with torch and transformers: see the package's docstring for what is asked and answered.

The request also has "auto", the name of the Auto class to load with, and "trust_remote_code".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

Batch = dict[str, list[list[int]]]
Text = tuple[str, str | None]


def tokens_of(tokenizer: Any, texts: Sequence[Text], max_length: int) -> dict[str, torch.Tensor]:
    """ "tokens.j" and "types.j" of each text or pair."""
    found: dict[str, torch.Tensor] = {}
    for j, (first, second) in enumerate(texts):
        encoded = tokenizer(first, second, truncation=True, max_length=max_length, return_token_type_ids=True)
        found[f"tokens.{j}"] = torch.tensor(encoded["input_ids"], dtype=torch.long)
        found[f"types.{j}"] = torch.tensor(encoded["token_type_ids"], dtype=torch.long)
    return found


def outputs_of(model: Any, batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """ "i.NAME": every floating-point tensor of the model's output for batch i."""
    found: dict[str, torch.Tensor] = {}
    for i, batch in enumerate(batches):
        with torch.inference_mode():
            output = model(**{name: torch.tensor(rows) for name, rows in batch.items()})
        for name, value in output.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                found[f"{i}.{name}"] = value.float().contiguous()
    return found


def load_and_answer(request: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Load with the Auto classes and answer. Raises: ValueError where weights are missing or left."""
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
    tokens = tokens_of(tokenizer, request["texts"], request["max_length"])
    return tokens | outputs_of(model.eval(), request["batches"])


if __name__ == "__main__":
    request_path, answers_path = sys.argv[1:]
    save_file(load_and_answer(json.loads(Path(request_path).read_text(encoding="utf-8"))), answers_path)
