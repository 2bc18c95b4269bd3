"""Run as a process of its own: load exported directories as a stranger does and write down what happened.

`python strangers.py REQUEST.json ANSWERS.json MODE`, MODE one of
  alone        asc_core cannot be imported; the directory's own code may run
  distrustful  asc_core cannot be imported; no code of the directory may run
  asc_core     asc_core is imported; no code of the directory may run
REQUEST.json: {"folders": {name: {"folder", "auto", "inputs"}}}. It needs transformers and torch alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

MODE = sys.argv[3]
if MODE == "asc_core":
    import asc_core.encoder  # noqa: F401
else:
    sys.modules["asc_core"] = None  # type: ignore[assignment]

import torch  # noqa: E402
import transformers  # noqa: E402

transformers.logging.set_verbosity_error()
TRUST = {"trust_remote_code": True} if MODE == "alone" else {}


def said(model: Any, inputs: dict[str, list[list[int]]], **options: Any) -> Any:
    with torch.inference_mode():
        return model(**{name: torch.tensor(value) for name, value in inputs.items()}, **options)


def flat(output: Any) -> dict[str, list[float]]:
    return {n: v.flatten().tolist() for n, v in output.items() if isinstance(v, torch.Tensor)}


def look_at(folder: str, auto: str, inputs: dict[str, list[list[int]]], again: str) -> dict[str, Any]:
    model = getattr(transformers, auto).from_pretrained(folder, dtype=torch.float32, **TRUST).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **TRUST)
    found: dict[str, Any] = {
        "transformers": transformers.__version__,
        "class": type(model).__name__,
        "module": type(model).__module__,
        "output": flat(said(model, inputs)),
        "states": len(said(model, inputs, output_hidden_states=True).get("hidden_states") or ()),
        "ids": tokenizer("a cat sat", "the dog ran")["input_ids"],
        "layers": model.config.num_hidden_layers,
    }
    if MODE == "alone":
        model.save_pretrained(again)
        tokenizer.save_pretrained(again)
        copied = getattr(transformers, auto).from_pretrained(again, dtype=torch.float32, **TRUST).eval()
        found["saved again"] = flat(said(copied, inputs))
        found["base"] = type(transformers.AutoModel.from_pretrained(folder, **TRUST)).__name__
    if auto == "AutoModelForSequenceClassification":
        pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
        found["pipeline"] = pipe("the cat sat")[0]["label"]
    return found


def run_card(folder: str) -> str:
    """Run the Python of the model card, as its reader would: in the folder that holds the model."""
    blocks = re.findall(r"```python\n(.*?)```", (Path(folder) / "README.md").read_text(), re.DOTALL)
    code = next(b for b in blocks if ("import asc_core" in b) == (MODE == "asc_core"))
    names: dict[str, Any] = {}
    exec(code, names)
    return type(names["model"]).__name__


def main() -> None:
    import os

    request = json.loads(Path(sys.argv[1]).read_text())
    answers: dict[str, Any] = {}
    for name, wanted in request["folders"].items():
        try:
            answers[name] = look_at(wanted["folder"], wanted["auto"], wanted["inputs"], f"{sys.argv[2]}-{name}")
            if wanted.get("card"):
                os.chdir(Path(wanted["folder"]).parent)
                answers[name]["card"] = run_card(wanted["folder"])
        except Exception as error:
            answers[name] = {"error": f"{type(error).__name__}: {error}"}
    Path(sys.argv[2]).write_text(json.dumps(answers))


main()
