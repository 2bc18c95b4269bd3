"""The stranger's side of an export: one script a runtime, which loads a model directory and writes down its answers.

Each runs as a process of its own, `python SCRIPT REQUEST.json ANSWERS.safetensors`, needs its runtime, a tokenizer
library and safetensors alone, and never imports asc_core, so that what is compared is the directory and nothing else.
REQUEST.json: {"folder", "texts": [[text, second text or null]], "max_length", "batches": [{input name: rows of
numbers}]} and what the format adds. Answers: for text j its token ids and types "tokens.j", "types.j"; for batch i
"i.NAME" for each floating-point output of the model. A script offers `load_and_answer(request)`, too.
"""

from pathlib import Path


def script(name: str) -> Path:
    return Path(__file__).with_name(name)
