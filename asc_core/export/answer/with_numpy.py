"""Answer with numpy alone, by `numpy_model.py`: see the package's docstring for what is asked and answered.

Each text is computed without its padding; where a batch has some, the output holds zeros.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

OF_TEXTS = ("logits", "intent_logits", "pooler_output", "sentence_embedding")  # others have a row for each token


def numpy_model() -> Any:
    """The module, by its file: to import its package would need torch."""
    name = "asc_numpy_model"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("numpy_model.py"))
        if spec is None or spec.loader is None:
            raise ImportError(name)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def load_and_answer(request: dict[str, Any]) -> dict[str, np.ndarray]:
    """Raises: ValueError where the file is damaged."""
    model = numpy_model().Model(Path(request["folder"]) / "model.asc")
    found: dict[str, np.ndarray] = {}
    for j, (first, second) in enumerate(request["texts"]):
        tokens = model.tokens.encoded([first] if second is None else [first, second], request["max_length"])
        found[f"tokens.{j}"], found[f"types.{j}"] = (
            np.array([token[part] for token in tokens], dtype=np.int64) for part in (0, 1)
        )
    for i, batch in enumerate(request["batches"]):
        found |= {f"{i}.{name}": value for name, value in batch_outputs(model, batch).items()}
    return found


def batch_outputs(model: Any, batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """Of each text of a batch, by the outputs' names: (texts, ...)."""
    ids, mask = np.array(batch["input_ids"]), np.array(batch["attention_mask"])
    types = np.array(batch.get("token_type_ids", np.zeros_like(ids)))
    found: dict[str, np.ndarray] = {}
    for row in range(len(ids)):
        places = np.flatnonzero(mask[row])
        for name, value in model.outputs(ids[row, places], types[row, places], places).items():
            of_text = name in OF_TEXTS and model.said["head"] != "token-classification"
            shape = value.shape if of_text else (ids.shape[1], *value.shape[1:])
            whole = found.setdefault(name, np.zeros((len(ids), *shape), np.float32))
            whole[row, ... if of_text else places] = value
    return found


if __name__ == "__main__":
    request_path, answers_path = sys.argv[1:]
    save_file(load_and_answer(json.loads(Path(request_path).read_text(encoding="utf-8"))), answers_path)
