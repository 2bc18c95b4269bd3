"""ONNX: one graph that onnxruntime runs, with neither torch nor transformers nor code of ours.

Batch size and number of tokens are free. The widths that a cut left are in the graph, so the configuration beside it
is the architecture's plain one; it is there for the names of the labels.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from asc_core import modeling
from asc_core.errors import UserError
from asc_core.export.answer import script
from asc_core.export.formats.format import Written
from asc_core.export.formats.onnx_integers import in_integers, without_rounding
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
from asc_core.runtimes.with_onnxruntime import GRAPH_FILE, OnnxRuntimeSession

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

OPSET = 18  # what torch translates to without a conversion behind it; onnxruntime knows it since 1.14
_BUILDERS = ("onnx", "onnxscript", "onnxruntime")
_OF_INTEGERS = (
    "What matrices multiply is rounded to 8 bits by its range in each call, so that answers depend a little on the "
    "texts that are asked together. On processors without VNNI, sums of such products saturate, unless a session has "
    "the entry `session.x64quantprecision` = 1, as in the example.",
)
_RUNTIME = ("onnxruntime", "tokenizers", "numpy")


class Onnx:
    name = "onnx"
    title = "ONNX"
    about = "one graph for onnxruntime, without torch, transformers or code of ours"
    needs = _RUNTIME
    zeros = False
    tolerance = 1e-4
    packings = ("float32", "float16")
    int8_activations = "dynamic"  # it multiplies integers
    answer = script("with_onnxruntime.py")

    def refuses(self, encoder: Encoder) -> str | None:
        if not all(map(find_spec, _BUILDERS)):
            return f"ONNX needs the packages {', '.join(_BUILDERS)}: install requirements.txt."
        return graph_refusal(encoder, self.title)

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        written = _write_graph(encoder, folder / GRAPH_FILE, packing)
        rounds = modeling.rounds_inputs(encoder.model)
        write_companions(encoder, folder, Path(__file__).with_name("onnx_example.py"), _RUNTIME)
        return Written(
            written,
            needs="It needs onnxruntime and tokenizers, and neither torch nor transformers.",
            limitations=(
                f"The graph is of ONNX opset {OPSET}.",
                "By default onnxruntime takes every core: set `intra_op_num_threads`, as `example.py` does.",
                *decoded_notes(encoder),
                *pooling_notes(encoder),
                *(_OF_INTEGERS if rounds else ()),
            ),
            library="onnx",
            tags=("onnx",),
            made_with=_BUILDERS,
            pooled=encoder.head == "embedding",
            rounds=rounds,
            speed=(lambda: _speed(encoder, folder, packing)) if rounds else None,
        )

    def loading(self, folder: Path, name: str) -> str:
        return loading_by_example(folder, name)


def _speed(encoder: Encoder, folder: Path, packing: Packing) -> str:
    with tempfile.TemporaryDirectory(prefix="asc-speed-") as scratch:
        floats = Path(scratch)
        _write_graph(encoder, floats / GRAPH_FILE, packing, integers=False)
        shutil.copy(folder / "config.json", floats)
        return said_of_speed(OnnxRuntimeSession(folder, THREADS), OnnxRuntimeSession(floats, THREADS))


def _write_graph(encoder: Encoder, path: Path, packing: Packing, integers: bool = True) -> int:
    """The bytes of all tensors in it. integers: whether inputs that the model rounds are, else all is computed in
    float32 with the same weights. Raises: UserError where the exporter cannot translate the model."""
    traced = traceable(encoder, packing)
    if integers:
        in_integers(traced.model)
    else:
        without_rounding(traced.model)
    with ONE_AT_A_TIME, quiet():
        from onnx_ir.passes import common

        try:
            program = torch.onnx.export(
                traced.module,
                tuple(traced.sample.values()),
                dynamo=True,
                input_names=list(traced.sample),
                output_names=list(traced.outputs),
                dynamic_shapes=traced.shapes,
                opset_version=OPSET,
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
        if packing.dtype == torch.float16:
            _store_in_half(program.model)
        program.save(str(path))
    initializers = program.model.graph.initializers.values()
    return sum(value.const_value.nbytes for value in initializers if value.const_value is not None)


def _store_in_half(model: Any) -> None:
    """Tensors that float16 holds exactly lie in it, with a cast behind them that onnxruntime does once, at loading.

    The model's weights went through float16 before; what the exporter computed of them, and what a model computes for
    itself (rotary angles), did not, and stays as exact as it is.
    """
    import numpy as np
    import onnx_ir as ir

    graph = model.graph
    for name, value in list(graph.initializers.items()):
        if value.const_value is None or value.dtype != ir.DataType.FLOAT or value.const_value.size < 2:
            continue
        whole = value.const_value.numpy()
        with np.errstate(over="ignore"):
            half = whole.astype(np.float16)
        if value.is_graph_output() or not np.array_equal(half.astype(np.float32), whole):
            continue
        stored = ir.Value(
            name=f"{name}.half",
            type=ir.TensorType(ir.DataType.FLOAT16),
            shape=ir.Shape(half.shape),
            const_value=ir.Tensor(half, name=f"{name}.half"),
        )
        cast = ir.node("Cast", [stored], attributes={"to": ir.DataType.FLOAT})
        cast.outputs[0].name, cast.outputs[0].shape = f"{name}.whole", value.shape
        cast.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        graph.insert_before(graph[0], cast)
        value.replace_all_uses_with(cast.outputs[0])
        del graph.initializers[name]
        graph.register_initializer(stored)
