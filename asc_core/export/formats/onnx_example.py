"""Answer with onnxruntime, tokenizers and numpy alone: python example.py "A text." ["Its second text."]"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = Path(__file__).parent
config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(512)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # threads of one call; by default every core of the machine
options.add_session_config_entry("session.x64quantprecision", "1")  # else sums of int8 saturate without VNNI
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)

texts = sys.argv[1:] or ["A text."]
encoded = tokenizer.encode(texts[0], texts[1] if len(texts) > 1 else None)
inputs = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
outputs = session.run(None, {wanted.name: np.array([inputs[wanted.name]]) for wanted in session.get_inputs()})
labels = {"logits": "id2label", "intent_logits": "id2label", "slot_logits": "slot_id2label"}
for name, value in zip([output.name for output in session.get_outputs()], outputs, strict=True):
    best = np.atleast_1d(value[0].argmax(-1))
    if name in labels:
        print(name, [config[labels[name]][str(i)] for i in best])
    elif name in ("start_logits", "end_logits"):
        print(name, encoded.tokens[best[0]])
    else:
        print(name, value.shape)
