"""Answer with asc_core's own loader: see the package's docstring for what is asked and answered.

The one script that imports asc_core: it is the route of who loads weights without code beside them. It takes the
asc_core that it belongs to itself, and knows nothing of the process that made the folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch
from safetensors.torch import save_file

from asc_core.export.answer.with_transformers import outputs_of, tokens_of
from asc_core.loading import load_encoder


def load_and_answer(request: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Raises: UserError where the loader refuses the folder."""
    encoder = load_encoder(request["folder"], device="cpu")
    tokens = tokens_of(encoder.tokenizer, request["texts"], request["max_length"])
    return tokens | outputs_of(encoder.model, request["batches"])


if __name__ == "__main__":
    request_path, answers_path = sys.argv[1:]
    save_file(load_and_answer(json.loads(Path(request_path).read_text(encoding="utf-8"))), answers_path)
