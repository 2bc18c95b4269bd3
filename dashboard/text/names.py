"""Kinds of parts, single parts, and budgets, as people call them."""

from __future__ import annotations

from asc_core.parts import BY_NAME, NEURON_GROUPS, SINGLE
from asc_core.plan import Part

BUDGET_NAMES = {"flops": "FLOPs", "parameters": "parameters", "bytes": "file size", "latency": "latency"}
_SHOWN = ("heads", "layers", "attention", "ffn", "neurons", NEURON_GROUPS)  # what loss curves are drawn of comes first
KIND_NAMES = {kind: BY_NAME[kind].many for kind in _SHOWN}
PART_NAMES = {kind: BY_NAME[kind].one for kind in (*SINGLE, "neurons")}  # thousands of neurons come last


def part_name(part: Part) -> str:
    """As people count: from 1."""
    match part.kind:
        case "heads":
            return (
                f"Layer {part.row + 1}, head {part.number + 1}"
                if part.number is not None
                else (f"Layer {part.row + 1}, all heads")
            )
        case "ffn" | "neurons":
            return f"Layer {part.row + 1}, FFN"
        case "attention":
            return f"Layer {part.row + 1}, attention"
        case _:
            return f"Layer {part.row + 1}"
