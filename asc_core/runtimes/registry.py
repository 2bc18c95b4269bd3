"""All runtimes, by the name that command line, page and latency tables give them."""

from asc_core.runtimes.runtime import Runtime
from asc_core.runtimes.with_onnxruntime import OnnxRuntime
from asc_core.runtimes.with_openvino import OpenVino
from asc_core.runtimes.with_torch import Torch

RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in (Torch(), OnnxRuntime(), OpenVino())}


def installed() -> list[str]:
    """Names of those that can run here."""
    return [name for name, runtime in RUNTIMES.items() if runtime.missing() is None]
