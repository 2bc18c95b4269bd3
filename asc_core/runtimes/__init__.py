"""Where a model runs: torch, ONNX Runtime, OpenVINO, each loaded, answering and timed in the same way."""

from asc_core.runtimes.answers import SessionReader
from asc_core.runtimes.load import runtime_named, runtime_of, session
from asc_core.runtimes.registry import RUNTIMES, installed
from asc_core.runtimes.runtime import Runtime
from asc_core.runtimes.session import Session

__all__ = ["RUNTIMES", "Runtime", "Session", "SessionReader", "installed", "runtime_named", "runtime_of", "session"]
