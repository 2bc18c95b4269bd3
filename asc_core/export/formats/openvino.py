"""OpenVINO: the graph as two files that its runtime reads, with neither torch nor transformers nor code of ours."""

from __future__ import annotations

import errno
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from asc_core import modeling
from asc_core.errors import UserError, first_line
from asc_core.export.answer import script
from asc_core.export.formats.format import Written
from asc_core.export.formats.speed_beside_float32 import THREADS, said_of_speed
from asc_core.export.graph import (
    ONE_AT_A_TIME,
    decoded_notes,
    graph_refusal,
    loading_by_example,
    pooling_notes,
    quiet,
    traceable,
    write_companions,
)
from asc_core.modeling import Packing
from asc_core.runtimes.with_openvino import GRAPH_FILE, OpenVinoSession

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

WEIGHTS_FILE = "model.bin"
_GRAPH_BYTES = 4 << 20  # more than the graph without its weights takes
_ROUNDING = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
_OF_INTEGERS = (
    "OpenVINO rounds what int8 matrices multiply to 8 bits, in groups, where the processor is fast at it; "
    f"`{_ROUNDING}` = 0 switches that off.",
)
_RUNTIME = ("openvino", "tokenizers", "numpy")


class OpenVino:
    name = "openvino"
    title = "OpenVINO"
    about = "one graph for OpenVINO's runtime, without torch, transformers or code of ours"
    needs = _RUNTIME
    zeros = False
    tolerance = 1e-4
    packings = ("float32", "float16")
    answer = script("with_openvino.py")

    def refuses(self, encoder: Encoder) -> str | None:
        if find_spec("openvino") is None:
            return (
                "OpenVINO needs the package openvino: install requirements-openvino.txt, or export in the ONNX format."
            )
        if modeling.rounds_inputs(encoder.model):
            return (
                "OpenVINO rounds inputs by itself, in groups: quantize with activations none for it, or export in the "
                "ONNX format."
            )
        return graph_refusal(encoder, self.title)

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        import openvino

        traced = traceable(encoder, packing)
        if any(modeling.count_parts(encoder.model).span):
            # A padded token whose window holds padding alone: torch's fused attention says zeros, OpenVINO's not a
            # number, and from there it spreads.
            traced.model.set_attn_implementation("eager")
        _without_empty_readouts(traced.model)
        with ONE_AT_A_TIME, quiet():
            program = traced.program(self.title)
            try:
                model = openvino.convert_model(program)
            except Exception as error:  # of many kinds
                raise UserError(
                    f"OpenVINO cannot translate this model ({first_line(error)}). Export it in the ONNX format."
                ) from error
        names = (*traced.sample, *traced.outputs)
        for port, name in zip((*model.inputs, *model.outputs), names, strict=True):
            port.get_tensor().set_names({name})
        _check_space(traced.model, folder, packing)
        if packing.dtype == torch.float16:
            _store_in_half(model)
        openvino.save_model(model, folder / GRAPH_FILE, compress_to_fp16=False)
        write_companions(encoder, folder, Path(__file__).with_name("openvino_example.py"), _RUNTIME)
        whole = modeling.QuantizedLinear | modeling.QuantizedEmbedding
        integers = any(isinstance(module, whole) for module in traced.model.modules())
        return Written(
            (folder / WEIGHTS_FILE).stat().st_size,
            needs="It needs openvino and tokenizers, and neither torch nor transformers.",
            limitations=(
                "By default OpenVINO takes every core, and bfloat16 where the processor has it: `example.py` sets "
                "`INFERENCE_NUM_THREADS` and `INFERENCE_PRECISION_HINT`.",
                *decoded_notes(encoder),
                *pooling_notes(encoder),
                *(_OF_INTEGERS if integers else ()),
            ),
            library="openvino",
            tags=("openvino",),
            made_with=("openvino",),
            pooled=encoder.head == "embedding",
            rounds=integers,
            speed=(lambda: _speed(folder)) if integers else None,
        )

    def loading(self, folder: Path, name: str) -> str:
        return loading_by_example(folder, name)


def _speed(folder: Path) -> str:
    """Beside the same file without rounding of inputs, which computes in float32."""
    floats = OpenVinoSession(folder, THREADS, {_ROUNDING: 0})
    return said_of_speed(OpenVinoSession(folder, THREADS), floats)


class _Bias(nn.Module):
    """A readout of no columns: what it says does not depend on what it reads."""

    def __init__(self, readout: nn.Module):
        super().__init__()
        bias = modeling.bias(readout)
        bias = modeling.matrix(readout).new_zeros(modeling.rows_of_matrix(readout)) if bias is None else bias
        self.register_buffer("bias", bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = self.get_buffer("bias")
        return bias.expand(*x.shape[:-1], bias.shape[0])


def _without_empty_readouts(model: nn.Module) -> None:
    """Of layers whose heads or neurons are all cut: OpenVINO's product over no columns is not zero but anything."""
    for name, module in list(model.named_modules()):
        if modeling.is_matrix(module) and modeling.columns_of(module) == 0:
            model.set_submodule(name, _Bias(module))


def _store_in_half(model: Any) -> None:
    """Tensors that float16 holds exactly lie in it, with a conversion behind them that OpenVINO does once, at loading.

    Its own compression rounds all of them: also what a model computes for itself (rotary angles), which float16 is not
    enough for on long texts.
    """
    from openvino import opset13

    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() != "f32":
            continue
        whole = np.array(node.data)
        with np.errstate(over="ignore"):
            half = whole.astype(np.float16)
        if whole.size > 1 and np.array_equal(half.astype(np.float32), whole):
            converted = opset13.convert(opset13.constant(half), "f32").output(0)
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(converted)


def _check_space(model: nn.Module, folder: Path, packing: Packing) -> None:
    """Raises: OSError where the disk cannot hold the files; OpenVINO's own writer leaves half of one without a word."""
    needed = sum(packing.bytes(tensor) for tensor in model.state_dict().values()) + _GRAPH_BYTES
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
