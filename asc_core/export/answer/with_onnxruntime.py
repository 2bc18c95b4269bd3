"""Answer with onnxruntime, tokenizers and numpy: see the package's docstring for what is asked and answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import save_file
from tokenizers import Tokenizer


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    """On one thread: by default onnxruntime takes every core that the machine has, whoever else works there."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")  # else sums saturate without VNNI
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])


def load_and_answer(request: dict[str, Any]) -> dict[str, np.ndarray]:
    folder = Path(request["folder"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(request["max_length"])
    found: dict[str, np.ndarray] = {}
    for j, (first, second) in enumerate(request["texts"]):
        encoded = tokenizer.encode(first, second)
        found[f"tokens.{j}"] = np.array(encoded.ids, dtype=np.int64)
        found[f"types.{j}"] = np.array(encoded.type_ids, dtype=np.int64)
    session = session_of(folder)
    outputs = [output.name for output in session.get_outputs()]
    for i, batch in enumerate(request["batches"]):
        said = session.run(outputs, {name: np.array(rows, dtype=np.int64) for name, rows in batch.items()})
        found |= {f"{i}.{name}": np.ascontiguousarray(value) for name, value in zip(outputs, said, strict=True)}
    return found


if __name__ == "__main__":
    request_path, answers_path = sys.argv[1:]
    save_file(load_and_answer(json.loads(Path(request_path).read_text(encoding="utf-8"))), answers_path)
