"""A model as a graph of tensors, for runtimes that know nothing of it: what ONNX, torch.export and OpenVINO share.

Batch size and number of tokens stay free. What a cut left is in the graph, and of an embedding model pooling,
projections and normalisation, too: the vector of a text is an output of its own.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from asc_core import modeling
from asc_core.errors import UserError, first_line
from asc_core.export.checkpoint import plain_config
from asc_core.modeling import Packing
from asc_core.sentences import Sentences

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from asc_core.encoder import Encoder

TEXT_VECTOR = "sentence_embedding"
ONE_AT_A_TIME = threading.Lock()  # exporters keep state of their own while they work
_EXAMPLE_TOKENS, _EXAMPLE_TEXTS = "enable_truncation(512)", 'texts = sys.argv[1:] or ["A text."]'
_NOISY = ("torch", "onnxscript", "onnx_ir")


class Outputs(nn.Module):
    """A model with its outputs in a tuple, as a graph has them, and where `pooling` is given a text's vector."""

    def __init__(
        self, model: nn.Module, inputs: Sequence[str], outputs: Sequence[str], pooling: Sentences | None, skip: int
    ):
        super().__init__()
        self.model, self.inputs, self.outputs, self.pooling, self.skip = model, inputs, outputs, pooling, skip

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.inputs, tensors, strict=True))
        said = self.model(**given)
        found = tuple(said[name] for name in self.outputs)
        if self.pooling is None:
            return found
        return (*found, self.pooling.embed(said["last_hidden_state"], given["attention_mask"], self.skip))


@dataclass(frozen=True)
class Traceable:
    """module: takes `sample`'s tensors by position, gives `outputs`. shapes: what of the inputs is free."""

    module: Outputs
    sample: dict[str, Tensor]
    outputs: tuple[str, ...]
    shapes: tuple[Any, ...]

    @property
    def model(self) -> PreTrainedModel:
        return cast("PreTrainedModel", self.module.model)

    def program(self, format: str) -> torch.export.ExportedProgram:
        """Raises: UserError where torch cannot trace the model."""
        try:
            # Without gradients, a part of a model that switches them off is no graph of its own: one whose result
            # nobody uses (the positions of layers that lost their heads) could not be written.
            with torch.no_grad():
                return torch.export.export(
                    self.module, tuple(self.sample.values()), dynamic_shapes=self.shapes, strict=False
                )
        except Exception as error:  # whatever of it fails, in as many ways as models are written
            raise UserError(
                f"torch.export cannot trace this model ({first_line(error).rstrip('.')}), so there is no {format} "
                "format. Export it in the compact format."
            ) from error


def traceable(encoder: Encoder, packing: Packing) -> Traceable:
    """On the CPU, with weights that went through the packing: what it cannot hold is gone before the tracing."""
    model = _copy_on_cpu(encoder, packing)
    modeling.made_for_a_graph(model)
    sample = _sample(model, encoder.type_vocab_size > 1)
    with torch.inference_mode():
        said = model(**sample)
    outputs = [name for name, value in said.items() if isinstance(value, Tensor) and value.is_floating_point()]
    pooling, skip = pooling_of(encoder)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    module = Outputs(model, list(sample), list(outputs), pooling, skip).eval()
    named = (*outputs, TEXT_VECTOR) if pooling is not None else tuple(outputs)
    return Traceable(module, sample, named, ((axes,) * len(sample),))


def pooling_of(encoder: Encoder) -> tuple[Sentences | None, int]:
    """(how a text's vector is made, tokens at its beginning left out); (None, 0) where a model has none."""
    if encoder.head != "embedding":
        return None, 0
    pooling = encoder.sentences or Sentences()
    return pooling, pooling.prompt_tokens(encoder.tokenizer)


def graph_refusal(encoder: Encoder, title: str) -> str | None:
    """Why texts cannot be split without transformers, or a model is no graph of tensors."""
    if not encoder.has_parts:
        return (
            f"A {encoder.architecture} reads a text word by word, a loop that torch.export cannot trace for texts of "
            f"all lengths, so there is no {title} format. Export it in the compact format."
        )
    if any(entry["kind"] == "exits" for entry in encoder.structures):
        return (
            f"Which layers run on a text is decided while they run, and {title} holds one way for all texts. Export it "
            "in the compact format."
        )
    if getattr(encoder.tokenizer, "backend_tokenizer", None) is None:
        return (
            f"The tokenizer ({type(encoder.tokenizer).__name__}) has no form that the tokenizers library reads, so "
            f"there is no {title} format. Export it in the compact format."
        )
    return None


def write_companions(encoder: Encoder, folder: Path, example: Path, packages: Sequence[str]) -> None:
    """What a stranger needs beside the graph: the plain configuration, an example that runs, and what it imports."""
    (folder / "config.json").write_text(plain_config(encoder).to_json_string(), encoding="utf-8")
    code = example.read_text(encoding="utf-8")
    pooling, _ = pooling_of(encoder)
    prompt, lowers = (pooling.prompt, pooling.lowers) if pooling is not None else ("", False)
    code = code.replace(_EXAMPLE_TOKENS, f"enable_truncation({encoder.max_length})")
    if prompt or lowers:
        text = f"{prompt!r} + text" if prompt else "text"
        text = f"({text}).lower()" if lowers else text
        code = code.replace(_EXAMPLE_TEXTS, f"{_EXAMPLE_TEXTS}\ntexts = [{text} for text in texts]")
    (folder / "example.py").write_text(code, encoding="utf-8")
    needed = "".join(f"{package}=={metadata.version(package).partition('+')[0]}\n" for package in packages)
    (folder / "requirements.txt").write_text(needed, encoding="utf-8")


def loading_by_example(folder: Path, name: str) -> str:
    """The card's section of a folder whose example is the whole of it."""
    quoted = json.dumps(name, ensure_ascii=False) if " " in name else name
    return (
        f"```bash\npip install -r {quoted}/requirements.txt\n"
        f'python {quoted}/example.py "A text."\n```\n\n'
        "`example.py` is the whole of it:\n\n"
        f"```python\n{(folder / 'example.py').read_text(encoding='utf-8')}```"
    )


def pooling_notes(encoder: Encoder) -> tuple[str, ...]:
    """The card's line on what makes a text's vector."""
    pooling, _ = pooling_of(encoder)
    if pooling is None:
        return ()
    assumed = "" if encoder.sentences is not None else ", which was assumed, as its folder does not say it"
    return (
        f"A text's vector is the output `{TEXT_VECTOR}`: pooling ({' and '.join(pooling.pooling)}{assumed}) and all "
        "that follows it are in the graph.",
    )


def decoded_notes(encoder: Encoder) -> tuple[str, ...]:
    """The card's lines on what a graph holds in more bytes than the compact format."""
    modules, notes = list(encoder.model.modules()), []
    if any(isinstance(module, modeling.Decoded | modeling.PackedEmbedding) for module in modules):
        notes.append(
            "Codes of less than 8 bits and zeros lie in the graph multiplied out, as floating-point numbers: the "
            "compact format holds them packed."
        )
    if any(isinstance(module, modeling.CodedTable) and module.bits < 8 for module in modules):
        notes.append(
            "Each code of the word embedding lies in the graph as a byte: the compact format holds them packed."
        )
    if any(isinstance(module, modeling.HashedTable) for module in modules):
        notes.append(
            "Which rows of the pool a token of the word embedding uses lies in the graph as numbers: the compact "
            "format computes it."
        )
    return tuple(notes)


def _copy_on_cpu(encoder: Encoder, packing: Packing) -> Any:
    """A copy to trace: on a CPU it shares all tensors with the encoder, unless packing changes them."""
    state = encoder.model.state_dict()
    packed = {name: packing.unpacked(tensor) for name, tensor in state.items()}
    if any(packed[name] is not state[name] for name in state):
        model = copy.deepcopy(encoder.model).cpu()
        model.load_state_dict(packed)
        return model
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
def quiet() -> Iterator[None]:
    """Without the exporters' remarks on what they skipped."""
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
