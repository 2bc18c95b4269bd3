"""ONNX: one graph that onnxruntime runs, with neither torch nor transformers nor code of ours.

Batch size and number of tokens are free. The widths that a cut left are in the graph, so the configuration beside it
is the architecture's plain one; it is there for the names of the labels.
"""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from asc_core.errors import UserError
from asc_core.export.answer import script
from asc_core.export.checkpoint import plain_config
from asc_core.export.formats.format import Written
from asc_core.modeling import Packing
from asc_core.sentences import Sentences

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

GRAPH_FILE = "model.onnx"
_BUILDERS = ("onnx", "onnxscript", "onnxruntime")
_RUNTIME = ("onnxruntime", "tokenizers", "numpy")
_NOISY = ("torch", "onnxscript", "onnx_ir")
_ONE_AT_A_TIME = threading.Lock()  # the exporter keeps state of its own while it works
_EXAMPLE_TOKENS = "enable_truncation(512)"


class Onnx:
    name = "onnx"
    title = "ONNX"
    about = "one graph for onnxruntime, without torch, transformers or code of ours"
    tolerance = 1e-4
    packings = ("float32",)
    answer = script("with_onnxruntime.py")

    def refuses(self, encoder: Encoder) -> str | None:
        if not all(map(find_spec, _BUILDERS)):
            return f"ONNX needs the packages {', '.join(_BUILDERS)}: install requirements.txt."
        if getattr(encoder.tokenizer, "backend_tokenizer", None) is None:
            return (
                f"The tokenizer ({type(encoder.tokenizer).__name__}) has no form that the tokenizers library reads, "
                "so there is no ONNX format. Export it in the compact format."
            )
        return None

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        written = _write_graph(encoder, folder / GRAPH_FILE)
        (folder / "config.json").write_text(plain_config(encoder).to_json_string(), encoding="utf-8")
        example = Path(__file__).with_name("onnx_example.py").read_text(encoding="utf-8")
        longest = f"enable_truncation({encoder.max_length})"
        (folder / "example.py").write_text(example.replace(_EXAMPLE_TOKENS, longest), encoding="utf-8")
        needed = "".join(f"{package}=={metadata.version(package)}\n" for package in _RUNTIME)
        (folder / "requirements.txt").write_text(needed, encoding="utf-8")
        limitations = ["By default onnxruntime takes every core: set `intra_op_num_threads`, as `example.py` does."]
        if encoder.head == "embedding":
            pooling = " and ".join((encoder.sentences or Sentences()).pooling)
            limitations.append(
                "The graph ends with the hidden states: what makes a text's vector of them is left to its user "
                f"(pooling: {pooling}; see modules.json where there is one)."
            )
        return Written(
            written,
            needs="It needs onnxruntime and tokenizers, and neither torch nor transformers.",
            limitations=tuple(limitations),
            library="onnx",
            tags=("onnx",),
            made_with=_BUILDERS,
        )

    def loading(self, folder: Path, name: str) -> str:
        quoted = f'"{name}"' if " " in name else name
        return (
            f"```bash\npip install -r {quoted}/requirements.txt\n"
            f'python {quoted}/example.py "A text."\n```\n\n'
            "`example.py` is the whole of it:\n\n"
            f"```python\n{(folder / 'example.py').read_text(encoding='utf-8')}```"
        )


class _Outputs(nn.Module):
    """The model with its outputs in a tuple, as a graph has them."""

    def __init__(self, model: nn.Module, inputs: Sequence[str], outputs: Sequence[str]):
        super().__init__()
        self.model, self.inputs, self.outputs = model, inputs, outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        said = self.model(**dict(zip(self.inputs, tensors, strict=True)))
        return tuple(said[name] for name in self.outputs)


def _write_graph(encoder: Encoder, path: Path) -> int:
    """The bytes of all tensors in it. Raises: UserError where the exporter cannot translate the model."""
    model = _copy_on_cpu(encoder)
    inputs = _sample(model, encoder.type_vocab_size > 1)
    with torch.inference_mode():
        said = model(**inputs)
    outputs = [name for name, value in said.items() if isinstance(value, Tensor) and value.is_floating_point()]
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    with _ONE_AT_A_TIME, _quiet():
        from onnx_ir.passes import common

        try:
            program = torch.onnx.export(
                _Outputs(model, list(inputs), outputs).eval(),
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=((axes,) * len(inputs),),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(
                f"The ONNX exporter cannot translate this model ({reason}). Export it in the compact format."
            ) from error
        assert program is not None
        common.DeduplicateInitializersPass()(program.model)  # a tensor that two modules share, once
        common.ClearMetadataAndDocStringPass()(program.model)  # it names files of this machine
        program.save(str(path))
    initializers = program.model.graph.initializers.values()
    return sum(value.const_value.nbytes for value in initializers if value.const_value is not None)


def _copy_on_cpu(encoder: Encoder) -> Any:
    """A copy to trace: on a CPU it shares all tensors with the encoder."""
    if encoder.device.type != "cpu":
        return copy.deepcopy(encoder.model).cpu()
    shared: dict[int, Any] = {id(t): t for t in (*encoder.model.parameters(), *encoder.model.buffers())}
    return copy.deepcopy(encoder.model, shared)


def _sample(model: Any, typed: bool) -> dict[str, Tensor]:
    """Inputs to trace with; sizes of 0 and 1 would be taken for fixed."""
    padding = model.config.pad_token_id or 0
    ids = torch.tensor([[2, 3, 4, 5, 6], [2, 3, 4, padding, padding]]) % model.config.vocab_size
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": mask}
    if typed:
        inputs["token_type_ids"] = torch.zeros_like(ids)
    return inputs


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on what it skipped."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
