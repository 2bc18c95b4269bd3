"""torch.export: the graph in a `.pt2` file, which loads with torch alone, without transformers or code of ours."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from asc_core.export.answer import script
from asc_core.export.formats.format import Written
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
from asc_core.export.weights import ties_of
from asc_core.modeling import Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

PROGRAM_FILE = "model.pt2"
_RUNTIME = ("torch", "tokenizers", "numpy")
_OF_THIS_MACHINE = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn", "custom")


class TorchExport:
    name = "torch-export"
    title = "torch.export"
    about = "one graph (.pt2) for torch alone, without transformers or code of ours"
    needs = _RUNTIME
    zeros = False
    tolerance = 1e-4
    packings = ("float32",)
    answer = script("with_torch.py")

    def refuses(self, encoder: Encoder) -> str | None:
        if any(entry["kind"] == "tokens" for entry in encoder.structures):
            return (
                "torch.export takes sizes of 1 for a case of its own, and so few tokens may be left of a text: export "
                "it as ONNX or in the compact format."
            )
        return graph_refusal(encoder, self.title)

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        traced = traceable(encoder, packing)
        with ONE_AT_A_TIME, quiet():
            program = traced.program(self.title)
            _forget_this_machine(program)
            content = BytesIO()  # on a full disk torch's own writer does not say that it is full
            torch.export.save(program, content, extra_files={"outputs": "\n".join(traced.outputs)})
        (folder / PROGRAM_FILE).write_bytes(content.getbuffer())
        write_companions(encoder, folder, Path(__file__).with_name("torch_export_example.py"), _RUNTIME)
        tensors = {**program.state_dict, **program.constants}
        floats = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}
        once = floats.keys() - ties_of(floats).keys()
        return Written(
            sum(floats[name].numel() * floats[name].element_size() for name in once),
            needs="It needs torch and tokenizers, and not transformers.",
            limitations=(
                "torch reads a .pt2 file of the version that wrote it; newer ones may, older ones do not.",
                "torch may run code that stands in a .pt2 file: load one only from somebody whom you trust.",
                *decoded_notes(encoder),
                *pooling_notes(encoder),
            ),
            library="pytorch",
            tags=("torch-export",),
            pooled=encoder.head == "embedding",
        )

    def loading(self, folder: Path, name: str) -> str:
        return loading_by_example(folder, name)


def _forget_this_machine(program: torch.export.ExportedProgram) -> None:
    """Where the code lies that was traced is kept at each node."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for name in _OF_THIS_MACHINE:
                    node.meta.pop(name, None)
