"""What formats that transformers loads have in common: a configuration, weights, and code where its class is ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig

from asc_core import modeling
from asc_core.encoder import CLASS_ENDINGS, HEADS
from asc_core.export.weights import write_weights
from asc_core.modeling import Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Payload:
    """config: as it goes into config.json. state: parameter name -> tensor, as they go into model.safetensors.

    ties: name -> the name under which its tensor is stored. code: file name -> Python source of the model's class,
    where transformers does not have it.
    """

    config: PreTrainedConfig
    state: Mapping[str, Tensor]
    ties: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, Tensor]:
        """What is written, each tensor once."""
        return {name: tensor for name, tensor in self.state.items() if name not in self.ties}

    @property
    def parameters(self) -> int:
        """Numbers in the file, whole numbers (positions) left out."""
        return sum(tensor.numel() for tensor in self.stored.values() if tensor.is_floating_point())

    def write(self, folder: Path, packing: Packing) -> int:
        """The bytes of all tensors written. Raises: UserError, see `write_weights`."""
        self.config.dtype = packing.dtype
        (folder / "config.json").write_text(self.config.to_json_string(), encoding="utf-8")
        for name, source in self.code.items():
            (folder / name).write_text(source, encoding="utf-8")
        return write_weights(self.stored, folder / WEIGHTS_FILE, packing)


def plain_config(encoder: Encoder, **values: Any) -> Any:
    """The configuration of an ordinary checkpoint of this encoder's architecture. values: what is different in it."""
    config_class = type(AutoConfig.for_model(encoder.architecture))
    data = encoder.model.config.to_dict() | {"model_type": encoder.architecture} | values
    for name in ("asc", "auto_map"):
        data.pop(name, None)
    config = config_class.from_dict(data)
    config.architectures = [modeling.uncut_class(encoder.architecture, HEADS[encoder.head]).__name__]
    return config


def auto_class_of(folder: Path) -> str:
    """Name of the Auto class that loads a checkpoint."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model_class = config["architectures"][0]
    for auto, path in config.get("auto_map", {}).items():
        if path.endswith(f".{model_class}"):
            return auto
    return next((HEADS[head] for ending, head in CLASS_ENDINGS.items() if model_class.endswith(ending)), "AutoModel")


def own_code_of(folder: Path) -> list[str]:
    """The Python files without which a checkpoint does not load, the one that is named first."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    entry = {path.partition(".")[0] for path in config.get("auto_map", {}).values()}
    return sorted(f"{module}.py" for module in entry)


def loading(folder: Path, name: str) -> str:
    """The card's snippet. name: what to call the folder in it."""
    return "\n".join(_loading(auto_class_of(folder), own_code_of(folder), json.dumps(name, ensure_ascii=False)))


def _loading(auto: str, code: list[str], folder: str) -> Iterator[str]:
    trust = ", trust_remote_code=True" if code else ""
    yield "```python"
    yield f"from transformers import {auto}, AutoTokenizer"
    yield f"model = {auto}.from_pretrained({folder}{trust})"
    yield f"tokenizer = AutoTokenizer.from_pretrained({folder}{trust})"
    yield "```"
    if code:
        yield f"`trust_remote_code=True` runs `{code[0]}` and what it names. With ASC Studio it is not needed:"
        yield "```python"
        yield "import asc_core.encoder  # makes the model's class known to transformers"
        yield f"from transformers import {auto}, AutoTokenizer"
        yield f"model = {auto}.from_pretrained({folder})"
        yield f"tokenizer = AutoTokenizer.from_pretrained({folder})"
        yield "```"
