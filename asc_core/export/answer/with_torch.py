"""Answer with torch and tokenizers: see the package's docstring for what is asked and answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer


def load_and_answer(request: dict[str, Any]) -> dict[str, torch.Tensor]:
    folder = Path(request["folder"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(request["max_length"])
    found: dict[str, torch.Tensor] = {}
    for j, (first, second) in enumerate(request["texts"]):
        encoded = tokenizer.encode(first, second)
        found[f"tokens.{j}"] = torch.tensor(encoded.ids, dtype=torch.long)
        found[f"types.{j}"] = torch.tensor(encoded.type_ids, dtype=torch.long)
    said = {"outputs": ""}
    model = torch.export.load(folder / "model.pt2", extra_files=said).module()
    for i, batch in enumerate(request["batches"]):
        with torch.inference_mode():
            outputs = model(*(torch.tensor(rows) for rows in batch.values()))
        for name, value in zip(said["outputs"].split("\n"), outputs, strict=True):
            found[f"{i}.{name}"] = value.float().contiguous()
    return found


if __name__ == "__main__":
    request_path, answers_path = sys.argv[1:]
    save_file(load_and_answer(json.loads(Path(request_path).read_text(encoding="utf-8"))), answers_path)
