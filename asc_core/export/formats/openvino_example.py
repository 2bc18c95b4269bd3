"""Answer with openvino, tokenizers and numpy alone: python example.py "A text." ["Its second text."]"""

import json
import sys
from pathlib import Path

import numpy as np
import openvino
from tokenizers import Tokenizer

folder = Path(__file__).parent
config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(512)
settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}  # by default every core, and bfloat16
model = openvino.Core().compile_model(folder / "model.xml", "CPU", settings)

texts = sys.argv[1:] or ["A text."]
encoded = tokenizer.encode(texts[0], texts[1] if len(texts) > 1 else None)
inputs = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
said = model({wanted.any_name: np.array([inputs[wanted.any_name]]) for wanted in model.inputs})
labels = {"logits": "id2label", "intent_logits": "id2label", "slot_logits": "slot_id2label"}
for output in model.outputs:
    name, value = output.any_name, said[output]
    best = np.atleast_1d(value[0].argmax(-1))
    if name in labels:
        print(name, [config[labels[name]][str(i)] for i in best])
    elif name in ("start_logits", "end_logits"):
        print(name, encoded.tokens[best[0]])
    else:
        print(name, value.shape)
