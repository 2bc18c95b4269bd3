"""One model in a process of its own that is asked text by text: what it takes to load, to hold and to answer.

`python timed.py RUNTIME MODEL BEGAN` loads a folder in the device format ("numpy") or any encoder ("torch"), answers
the first line of standard input, and writes one line about that: JSON with seconds from BEGAN (the clock's, when the
process was started) to the answer, and bytes of memory at each stage. Then it answers each line, [text, second text or
null], with the seconds that it took; "memory" with bytes now.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = Callable[[str, "str | None"], Any]


def memory() -> dict[str, int]:
    """Bytes in memory of this process; "own" of what no file backs, where the system says it, "most" the highest."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux: the most there was
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"resident": most, "most": most}
    said = {name: value for name, _, value in (line.partition(":") for line in lines)}
    kilobytes = {"resident": said["VmRSS"], "own": said.get("RssAnon", "0 kB"), "most": said["VmHWM"]}
    return {name: 1024 * int(value.split()[0]) for name, value in kilobytes.items()}


def numpy_answer(folder: str) -> tuple[Answer, dict[str, Any]]:
    """The answer, and bytes at each stage of loading it."""
    import numpy  # noqa: F401 (a stage of its own)

    stages = {"runtime": memory()}
    sys.path.insert(0, str(Path(__file__).parent))
    from numpy_model import Model

    model = Model(Path(folder) / "model.asc")
    return model.answer, {**stages, "loaded": memory(), "arrays": model.bytes_held}


def torch_answer(source: str) -> tuple[Answer, dict[str, Any]]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    import torch

    from asc_core.loading import load_encoder

    torch.set_num_threads(1)
    stages = {"runtime": memory()}
    encoder = load_encoder(source, device="cpu")

    def answer(text: str, second: str | None) -> Any:
        given = [text] if second is None else [text, second]
        types = encoder.type_vocab_size > 1
        wanted = {"max_length": encoder.max_length, "return_tensors": "pt", "return_token_type_ids": types}
        encoded = encoder.tokenizer(*given, truncation=True, **wanted)
        with torch.inference_mode():
            return encoder.model(**encoded)

    held = sum(tensor.numel() * tensor.element_size() for tensor in encoder.model.state_dict().values())
    return answer, {**stages, "loaded": memory(), "arrays": held}


def main(runtime: str, model: str, began: float) -> None:
    bare = memory()
    answer, stages = {"numpy": numpy_answer, "torch": torch_answer}[runtime](model)
    answer(*json.loads(sys.stdin.readline()))
    seconds = time.time() - began
    imported = sorted({"torch", "transformers", "asc_core"} & sys.modules.keys())
    said: Any = {"cold_start": seconds, "bare": bare, **stages, "answered": memory(), "imported": imported}
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(json.dumps(memory()), flush=True)
            continue
        texts = json.loads(line)
        start = time.perf_counter()
        answer(*texts)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
