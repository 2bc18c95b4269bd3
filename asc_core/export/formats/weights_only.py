"""Weights and configuration alone, for who may not run code that came with a model: no Python file, no `auto_map`.

The numbers are those of the compact form. What builds the cut model is not in the folder: it is ASC Studio, installed
as any package is, or the files of `asc_core/modeling` as a package of their own, which need torch and transformers
alone, and which somebody can read once for all models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asc_core.export.answer import script
from asc_core.export.checkpoint import auto_class_of
from asc_core.export.formats.compact import payload_of
from asc_core.export.formats.format import Written
from asc_core.modeling import PACKINGS, Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


class WeightsOnly:
    name = "weights-only"
    title = "Weights only"
    about = "safetensors and JSON without any code, loads with ASC Studio installed"
    needs = ("asc-studio", "torch", "transformers")
    zeros = False
    tolerance = 1e-4
    packings = tuple(PACKINGS)
    answer = script("with_asc_core.py")

    def refuses(self, encoder: Encoder) -> str | None:
        return None

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        whole = payload_of(encoder)
        if not whole.code:
            return Written(
                whole.write(folder, packing), needs="It holds no code, and transformers' own class loads it."
            )
        vars(whole.config).pop("auto_map")
        return Written(
            replace(whole, code={}).write(folder, packing),
            needs="It holds no code: ASC Studio builds the model, and without it nothing loads this folder.",
            limitations=(
                "Transformers alone does not know this model, nor does a server that runs on transformers: export it "
                "in the dense or the ONNX format for those.",
            ),
            library="asc-studio",
        )

    def loading(self, folder: Path, name: str) -> str:
        return "\n".join(_loading(folder, json.dumps(name, ensure_ascii=False)))


def _loading(folder: Path, name: str) -> Iterator[str]:
    auto, own = auto_class_of(folder), "asc" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    yield "```python"
    if own:
        yield "import asc_core.encoder  # ASC Studio: makes the model's class known to transformers"
    yield f"from transformers import {auto}, AutoTokenizer"
    yield f"model = {auto}.from_pretrained({name})"
    yield f"tokenizer = AutoTokenizer.from_pretrained({name})"
    yield "```"
    if own:
        yield "No code of this folder runs: there is none. The loader checks each file against `digests.json` as well:"
        yield "```python"
        yield "import asc_core"
        yield f"encoder = asc_core.load_encoder({name})"
        yield "```"
