"""Answer with openvino, tokenizers and numpy: see the package's docstring for what is asked and answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from safetensors.numpy import save_file
from tokenizers import Tokenizer

# One thread, whoever else works on the machine, and the numbers that the file holds, not bfloat16.
SETTINGS = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}


def load_and_answer(request: dict[str, Any]) -> dict[str, np.ndarray]:
    folder = Path(request["folder"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(request["max_length"])
    found: dict[str, np.ndarray] = {}
    for j, (first, second) in enumerate(request["texts"]):
        encoded = tokenizer.encode(first, second)
        found[f"tokens.{j}"] = np.array(encoded.ids, dtype=np.int64)
        found[f"types.{j}"] = np.array(encoded.type_ids, dtype=np.int64)
    model = openvino.Core().compile_model(folder / "model.xml", "CPU", SETTINGS)
    for i, batch in enumerate(request["batches"]):
        said = model({name: np.array(rows, dtype=np.int64) for name, rows in batch.items()})
        found |= {f"{i}.{output.any_name}": np.ascontiguousarray(said[output]) for output in model.outputs}
    return found


if __name__ == "__main__":
    request_path, answers_path = sys.argv[1:]
    save_file(load_and_answer(json.loads(Path(request_path).read_text(encoding="utf-8"))), answers_path)
