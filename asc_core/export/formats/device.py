"""Device: one file with model and tokenizer, and one script that answers from it with numpy and nothing else."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from asc_core.export import device_file, device_tokenizer
from asc_core.export.answer import script
from asc_core.export.checkpoint import plain_config
from asc_core.export.formats.format import Written
from asc_core.modeling import Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

SCRIPT_FILE = "answer.py"

_LOADING = """```bash
python {folder}/{script} "A text."
```

prints the answer as JSON. In Python:

```python
import sys

sys.dont_write_bytecode = True  # the folder stays what was exported
sys.path.append({folder})
from answer import Model

model = Model({folder} + "/{file}")
model.answer("A text.")
```"""


class Device:
    name = "device"
    title = "Device"
    about = "one file with model and tokenizer, for numpy alone"
    needs = ("numpy",)
    zeros = False
    tolerance = 1e-4
    packings = ("float16", "float32")
    packing = "float16"
    tokenizer_inside = True
    answer = script("with_numpy.py")

    def refuses(self, encoder: Encoder) -> str | None:
        reason = device_file.refusal(encoder)
        if reason is not None:
            return f"{reason} {device_file.OTHERWISE}"
        return device_tokenizer.refusal(encoder.tokenizer)

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        file = device_file.device_file(encoder, packing)
        file.write(folder / device_file.FILE)
        (folder / "config.json").write_text(plain_config(encoder).to_json_string(), encoding="utf-8")
        (folder / SCRIPT_FILE).write_text(script("numpy_model.py").read_text(encoding="utf-8"), encoding="utf-8")
        numpy = metadata.version("numpy").partition("+")[0]
        (folder / "requirements.txt").write_text(f"numpy=={numpy}\n", encoding="utf-8")
        return Written(
            file.tensor_bytes,
            needs=(
                f"It needs Python 3.10 and numpy: `{device_file.FILE}` and `{SCRIPT_FILE}` are all that a device has "
                "to hold."
            ),
            limitations=(
                f"`{device_file.FILE}` has {file.bytes:,} bytes: {file.tensor_bytes:,} of weights, the others for the "
                "tokenizer, labels and how it is built.",
                f"Texts are cut after {encoder.max_length} tokens, as in training; a pair's longer text is cut first, "
                "and of a question with its context the context.",
                "Matrices are decoded to float32 when the file is opened; of tables, the rows that a text asks for.",
            ),
            library="numpy",
            tags=("numpy",),
            made_with=("numpy",),
            pooled=encoder.head == "embedding",
        )

    def loading(self, folder: Path, name: str) -> str:
        quoted = json.dumps(name, ensure_ascii=False)
        return _LOADING.format(folder=quoted, script=SCRIPT_FILE, file=device_file.FILE)
