"""The formats that an encoder can be exported in: the one list, which command line, page and card read."""

from asc_core.export.formats.compact import Compact
from asc_core.export.formats.dense import Dense
from asc_core.export.formats.device import Device
from asc_core.export.formats.format import Format, Written
from asc_core.export.formats.onnx import Onnx
from asc_core.export.formats.openvino import OpenVino
from asc_core.export.formats.torch_export import TorchExport
from asc_core.export.formats.weights_only import WeightsOnly

FORMATS: dict[str, Format] = {
    format.name: format for format in (Compact(), WeightsOnly(), Dense(), Onnx(), OpenVino(), TorchExport(), Device())
}

__all__ = ["FORMATS", "Format", "Written"]
