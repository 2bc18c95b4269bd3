"""ONNX Runtime, on the CPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError, first_line
from asc_core.runtimes.graph_folder import facts_of, through_format
from asc_core.runtimes.session import GraphSession, Session

GRAPH_FILE = "model.onnx"


class OnnxRuntimeSession(GraphSession):
    """Threads are set, since by default it takes every core; between passes they do not spin.

    Threads that wait busily for the next pass would slow whatever else is timed in turns with it.
    """

    runtime: ClassVar[str] = "onnxruntime"

    def __init__(self, folder: Path, threads: int):
        import onnxruntime

        super().__init__(threads, *facts_of(folder))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.x64quantprecision", "1")  # else sums saturate without VNNI
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / GRAPH_FILE), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of many kinds, none of which it exports
            raise UserError(f"onnxruntime cannot load {folder / GRAPH_FILE} ({first_line(error)}).") from error
        self.takes = tuple(each.name for each in self._session.get_inputs())
        self._names = [each.name for each in self._session.get_outputs()]

    def run(self, prepared: dict[str, np.ndarray]) -> Any:
        return self._session.run(self._names, prepared)

    def outputs(self, said: Any) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.array(value)) for name, value in zip(self._names, said, strict=True)}


class OnnxRuntime:
    name, title, form = "onnxruntime", "ONNX Runtime", "onnx"

    def missing(self) -> str | None:
        missing = find_spec("onnxruntime") is None
        return "The runtime onnxruntime is not installed: install requirements.txt." if missing else None

    def takes(self, folder: Path) -> bool:
        return (folder / GRAPH_FILE).exists()

    def of_folder(self, folder: Path, threads: int) -> Session:
        return OnnxRuntimeSession(folder, threads)

    def of_encoder(self, encoder: Encoder, threads: int) -> Session:
        return through_format(self.form, encoder, lambda folder: self.of_folder(folder, threads))
