"""Quantized matrices in ONNX's own operators: integer products where inputs are rounded, too.

A matrix that is int8 alone needs nothing here: its codes lie in the graph, with a cast and a product behind them that
onnxruntime does once, at loading.
"""

from __future__ import annotations

from torch import Tensor, float32, int32, nn, uint8
from torch.onnx import ops

from asc_core.modeling import QuantizedLinear


class IntegerProduct(nn.Module):
    """A `QuantizedLinear` with rounded inputs, in operators that only ONNX runs: to trace, not to call."""

    def __init__(self, linear: QuantizedLinear):
        super().__init__()
        self.register_buffer("codes", linear.codes.detach().t().contiguous())  # (columns, rows)
        self.register_buffer("scale", linear.scale.detach())
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        codes, scale = self.get_buffer("codes"), self.get_buffer("scale")
        steps, step, zero = ops.symbolic_multi_out(
            "DynamicQuantizeLinear",
            (inputs,),
            {},
            dtypes=(uint8, float32, uint8),
            shapes=(inputs.shape, (), ()),
        )
        shape = (*inputs.shape[:-1], codes.shape[1])
        summed = ops.symbolic("MatMulInteger", (steps, codes, zero), {}, dtype=int32, shape=shape)
        values = summed.to(float32) * (step * scale)
        return values if self.bias is None else values + self.bias


def in_integers(model: nn.Module) -> bool:
    """Put `IntegerProduct` in place, under each name that a module has. Returns: whether there was any."""
    made: dict[int, IntegerProduct] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, QuantizedLinear) and module.dynamic and module.codes.numel():
            model.set_submodule(name, made.setdefault(id(module), IntegerProduct(module)))
    return bool(made)


def without_rounding(model: nn.Module) -> None:
    """Compute in float32 what the codes say, in place."""
    for module in model.modules():
        if isinstance(module, QuantizedLinear):
            module.dynamic = False
