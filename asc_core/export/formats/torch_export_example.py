"""Answer with torch and tokenizers alone: python example.py "A text." ["Its second text."]"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

folder = Path(__file__).parent
config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(512)
said = {"outputs": ""}
program = torch.export.load(folder / "model.pt2", extra_files=said)

texts = sys.argv[1:] or ["A text."]
encoded = tokenizer.encode(texts[0], texts[1] if len(texts) > 1 else None)
inputs = [encoded.ids, encoded.attention_mask, encoded.type_ids][: len(program.graph_signature.user_inputs)]
with torch.inference_mode():
    outputs = program.module()(*(torch.tensor([rows]) for rows in inputs))
labels = {"logits": "id2label", "intent_logits": "id2label", "slot_logits": "slot_id2label"}
for name, value in zip(said["outputs"].split("\n"), outputs, strict=True):
    best = value[0].argmax(-1).reshape(-1).tolist()
    if name in labels:
        print(name, [config[labels[name]][str(i)] for i in best])
    elif name in ("start_logits", "end_logits"):
        print(name, encoded.tokens[best[0]])
    else:
        print(name, tuple(value.shape))
