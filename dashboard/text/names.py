"""Kinds of parts, single parts, and budgets, as people call them."""

from __future__ import annotations

from asc_core.plan import Part

BUDGET_NAMES = {"flops": "FLOPs", "parameters": "parameters", "bytes": "file size", "latency": "latency"}
KIND_NAMES = {
    "heads": "heads",
    "layers": "layers",
    "attention": "attention sublayers",
    "ffn": "FFN sublayers",
    "neurons": "neurons",
    "neuron-groups": "groups of neurons",
}
PART_NAMES = {
    "heads": "head",
    "attention": "attention sublayer",
    "ffn": "FFN sublayer",
    "layers": "layer",
    "neurons": "neuron",
}


def kind_title(kind: str) -> str:
    """ "FFN sublayers", "Heads": at the beginning of a line; what is an abbreviation already stays as it is."""
    name = KIND_NAMES[kind]
    return name[0].upper() + name[1:]


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
