"""The kinds of part that an encoder has: said once, because scores, plans, gates, ablation and the pages all ask.

A *block* is one of many on a readout (a head, a neuron), a *row* one set of layer weights, a *layer* one step of the
computation. A kind that is added here (matrices, positions, rows of a vocabulary) says what it is counted by, and
whether methods score it one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Kind:
    """name: as in `PartValues`, plans and files. one, many: in words.

    per: what there is one of them for. of: the kind of readout that it belongs to, None where it spans several. single:
    whether there are few enough to switch each off by itself. scored: whether scores have a number for each.
    """

    name: str
    one: str
    many: str
    per: Literal["block", "row", "layer"]
    of: str | None
    single: bool = True
    scored: bool = True


_ALL = (
    Kind("heads", "head", "heads", "block", "attention"),
    Kind("neurons", "neuron", "neurons", "block", "ffn", single=False),
    Kind("attention", "attention sublayer", "attention sublayers", "row", "attention"),
    Kind("ffn", "FFN sublayer", "FFN sublayers", "row", "ffn"),
    Kind("layers", "layer", "layers", "layer", None),
    Kind("neuron-groups", "group of neurons", "groups of neurons", "block", "ffn", scored=False),
)
NEURON_GROUPS = "neuron-groups"
BY_NAME = {kind.name: kind for kind in _ALL}
KINDS = tuple(kind.name for kind in _ALL if kind.scored)
BLOCKS = tuple(name for name in KINDS if BY_NAME[name].per == "block")
SUBLAYERS = tuple(name for name in KINDS if BY_NAME[name].per == "row")
WHOLE = (*SUBLAYERS, "layers")  # one number a row or layer, where blocks have an array a row
SINGLE = tuple(name for name in KINDS if BY_NAME[name].single)
ABLATED = tuple(kind.name for kind in _ALL if kind.single)
REMOVABLE = (*BLOCKS, "layers")
READOUT_OF = {kind.name: kind.of for kind in _ALL if kind.of is not None}
BLOCKS_OF = {sublayer: next(b for b in BLOCKS if READOUT_OF[b] == sublayer) for sublayer in SUBLAYERS}


def headline(kind: str) -> str:
    """The kind in words at the beginning of a line."""
    many = BY_NAME[kind].many
    return many[0].upper() + many[1:]
