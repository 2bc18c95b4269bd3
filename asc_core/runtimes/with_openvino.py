"""OpenVINO, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError, first_line
from asc_core.runtimes.graph_folder import facts_of, through_format
from asc_core.runtimes.session import GraphSession, Session

GRAPH_FILE = "model.xml"


class OpenVinoSession(GraphSession):
    """One stream on so many threads, in the numbers that the file holds (by default it would take bfloat16 where the
    processor has it). Threads are not tied to cores, and the file is read, not mapped: it may be a temporary one.

    settings: of OpenVINO, beside these.
    """

    runtime: ClassVar[str] = "openvino"

    def __init__(self, folder: Path, threads: int, settings: Mapping[str, Any] | None = None):
        import openvino

        super().__init__(threads, *facts_of(folder))
        wanted = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            **(settings or {}),
        }
        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})
        try:
            self._model = core.compile_model(folder / GRAPH_FILE, "CPU", wanted)
        except RuntimeError as error:
            raise UserError(f"OpenVINO cannot load {folder / GRAPH_FILE} ({first_line(error)}).") from error
        self._request = self._model.create_infer_request()
        self.takes = tuple(each.any_name for each in self._model.inputs)

    def run(self, prepared: dict[str, np.ndarray]) -> Any:
        return self._request.infer(prepared, share_inputs=True)

    def outputs(self, said: Any) -> dict[str, torch.Tensor]:
        return {each.any_name: torch.from_numpy(np.array(said[each])) for each in self._model.outputs}


class OpenVino:
    name, title, form = "openvino", "OpenVINO", "openvino"

    def missing(self) -> str | None:
        missing = find_spec("openvino") is None
        return "The runtime openvino is not installed: install requirements-openvino.txt." if missing else None

    def takes(self, folder: Path) -> bool:
        return (folder / GRAPH_FILE).exists()

    def of_folder(self, folder: Path, threads: int) -> Session:
        return OpenVinoSession(folder, threads)

    def of_encoder(self, encoder: Encoder, threads: int) -> Session:
        return through_format(self.form, encoder, lambda folder: self.of_folder(folder, threads))
