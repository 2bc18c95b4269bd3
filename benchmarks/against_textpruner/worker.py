"""Scores a checkpoint with the PyPI package `textpruner`; runs in an environment of its own, without asc_core.

Input: a folder with a checkpoint and batches.safetensors ("<n>.input_ids", "<n>.attention_mask", "<n>.labels", and
"<n>.token_type_ids" where the model has them). Output, in the same folder: scores.safetensors (heads, neurons) and
times.json (seconds of each turn; the first warms up).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import textpruner
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification


def main(folder: Path, turns: int) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tensors = load_file(folder / "batches.safetensors")
    count = 1 + max(int(name.split(".")[0]) for name in tensors)
    batches = [{n.split(".")[1]: t for n, t in tensors.items() if n.startswith(f"{i}.")} for i in range(count)]
    pruner = textpruner.TransformerPruner(
        model,
        transformer_pruning_config=textpruner.TransformerPruningConfig(
            target_ffn_size=64, target_num_of_heads=4, n_iters=1, pruning_method="iterative", ffn_even_masking=False
        ),
        general_config=textpruner.GeneralConfig(use_device="cpu", output_dir=str(folder / "textpruner")),
    )
    seconds = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        heads, neurons = pruner.get_importance_score(batches)
        seconds.append(time.perf_counter() - start)
    save_file({"heads": heads.cpu().contiguous(), "neurons": neurons.cpu().contiguous()}, folder / "scores.safetensors")
    (folder / "times.json").write_text(json.dumps({"seconds": seconds, "torch": torch.__version__}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
