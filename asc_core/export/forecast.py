"""How many bytes an export will have, before anything is built: from the counts of parts and the tokenizer's files."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asc_core import modeling
from asc_core.compress.matrix_scan import quantized
from asc_core.export.formats.format import Format
from asc_core.export.tokenizer_files import write_tokenizer
from asc_core.modeling import PACKINGS
from asc_core.plan.cost import CostModel
from asc_core.values import Plan

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

BESIDE = 100_000  # bytes: card, configuration, digests and the like


def weight_bytes(encoder: Encoder, form: Format, packing: str, plan: Plan | None = None) -> int:
    """Of the weights, once `plan` has cut the encoder (None: as it stands).

    Exact for formats that write parameters; a graph has some constants more or fewer. Raises: UserError where the plan
    is for another shape.
    """
    plan = plan or Plan.full(encoder.shape)
    model = CostModel(
        shape=encoder.shape,
        counts=modeling.count_parts(encoder.model, packing),
        lengths=np.ones(1, dtype=np.int64),
        bytes_per_parameter=PACKINGS[packing].dtype.itemsize,
    )
    return model.cost(_with_zeros(plan) if form.zeros else plan).bytes


def int8_bytes(encoder: Encoder, form: Format, activations: str, plan: Plan | None = None) -> int:
    """Of the weights with every matrix in int8 that can be: a `Quantize` that leaves some in float32 takes more."""
    able = list(modeling.quantizable(encoder.model))
    return weight_bytes(quantized(encoder, able, activations), form, "float32", plan)


def _with_zeros(plan: Plan) -> Plan:
    """All heads of each layer that is left, and neurons as many as the widest has."""
    rows = {plan.shape.rows[layer] for layer in plan.layers}
    widest = max([1, *(len(plan.neurons[row]) for row in rows)])
    return replace(
        plan,
        heads=tuple(tuple(range(heads)) for heads in plan.shape.heads),
        neurons=tuple(tuple(range(min(widest, neurons))) for neurons in plan.shape.neurons),
    )


def bytes_beside(encoder: Encoder) -> int:
    """Of all files but the weights, about: the tokenizer's, and what any export has. The same for every cut."""
    with tempfile.TemporaryDirectory(prefix="asc-forecast-") as scratch:
        folder = Path(scratch)
        write_tokenizer(encoder.tokenizer, folder, encoder.type_vocab_size > 1)
        return BESIDE + sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
