"""The record of a model's structures, as it stands in its configuration.

`config.asc = {"format": 2, "dense": {values of the uncut model}, "structures": [entries in order]}`. It may come from
anyone: `checked` reads it as data and refuses what no model can be built from.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from .architectures import ARCHITECTURES, TRANSFORMERS, architecture_name, head_count
from .codes import Codes
from .cut import Cut, joined
from .differences import Differences
from .embedding_factors import EmbeddingFactors
from .exits import Exits
from .factor import Factor
from .hashed import Hashed
from .positions import Positions
from .quantize import Quantize
from .share import Share
from .sparse import Sparse
from .structure import Entry, Structure, whole_numbers
from .tokens import Tokens
from .vocabulary import Vocabulary

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

FORMAT = 2
MOST_LAYERS, MOST_TOKENS = 1 << 10, 1 << 31  # of an uncut model
NO_STRUCTURES: dict[str, Any] = {"format": FORMAT, "dense": {}, "structures": []}
STRUCTURES: dict[str, Structure] = {
    structure.kind: structure
    for structure in (
        Codes(),
        Cut(),
        Differences(),
        EmbeddingFactors(),
        Exits(),
        Factor(),
        Hashed(),
        Positions(),
        Quantize(),
        Share(),
        Sparse(),
        Tokens(),
        Vocabulary(),
    )
}


def structures_of(config: PreTrainedConfig) -> tuple[dict[str, Any], ...]:
    """The entries of a configuration in order; none for a model of transformers' own class."""
    record = getattr(config, "asc", None)
    return tuple(record["structures"]) if record else ()


def needs_compact_class(config: PreTrainedConfig) -> bool:
    """Whether transformers has no class for a configuration's architecture, or one that would build another model."""
    if architecture_name(config) not in TRANSFORMERS:
        return True
    return any(not STRUCTURES[entry["kind"]].ordinary for entry in structures_of(config))


def every_token_passes(config: PreTrainedConfig) -> bool:
    """Whether each token of each text goes through each layer."""
    return all(STRUCTURES[entry["kind"]].every_token for entry in structures_of(config))


def can_follow(kind: str, before: str) -> bool:
    """Whether a structure may stand behind another: either of the two may say so."""
    known = STRUCTURES.get(before)
    return before in STRUCTURES[kind].after or (known is not None and kind in known.before)


def check_order(kinds: Sequence[str]) -> None:
    """Raises: ValueError, in words, where a structure stands behind one that it cannot follow."""
    for number, kind in enumerate(kinds):
        for before in kinds[:number]:
            if not can_follow(kind, before):
                raise ValueError(f'"{kind}" cannot come after "{before}": put it first')


def check_fits(kind: str, architecture: str) -> None:
    """Raises: ValueError where a structure is of Transformer layers, and the architecture has none."""
    if STRUCTURES[kind].of_transformers and architecture not in TRANSFORMERS:
        raise ValueError(f'"{kind}" is of Transformer layers, which a {architecture} has not')


def checked(config: PreTrainedConfig) -> dict[str, Any]:
    """The record of a compact model's configuration; one of format 1 (`asc_cut`) as it is written now.

    Raises: ValueError where there is none, or where it is none of this architecture.
    """
    record = getattr(config, "asc", None)
    first = getattr(config, "asc_cut", None)
    if record is None and first is not None:
        record = _of_format_1(first)
    if not isinstance(record, dict) or set(record) != {"format", "dense", "structures"}:
        raise ValueError(f"the configuration of a {config.model_type} model has no asc that says how it was made")
    if record["format"] != FORMAT:
        raise ValueError(f"its structures are of format {record['format']!r}, this version reads {FORMAT}")
    entries = record["structures"]
    if not isinstance(entries, list):
        raise ValueError("its structures are no list")
    for entry in entries:
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in STRUCTURES:
            raise ValueError(f"its structure {kind!r} is none of {', '.join(STRUCTURES)}")
        check_fits(kind, architecture_name(config))
        if set(entry) - STRUCTURES[kind].optional != STRUCTURES[kind].fields | {"kind"}:
            raise ValueError(f"its structure {kind!r} has not the fields {', '.join(sorted(STRUCTURES[kind].fields))}")
    check_order([entry["kind"] for entry in entries])
    dense = with_values(config, _checked_dense(config, record["dense"], entries))
    for entry in entries:
        STRUCTURES[entry["kind"]].check(entry, dense)
    return record


def _of_format_1(cut: Any) -> Any:
    """One cut, whose record stood by itself."""
    if not isinstance(cut, dict) or set(cut) != {"dense", "layers", "heads", "neurons"}:
        return None
    parts = {name: cut[name] for name in ("layers", "heads", "neurons")}
    return {"format": FORMAT, "dense": cut["dense"], "structures": [{"kind": Cut.kind, **parts}]}


def _checked_dense(config: PreTrainedConfig, dense: Any, entries: Sequence[Entry]) -> dict[str, Any]:
    wanted = {name for entry in entries for name in STRUCTURES[entry["kind"]].changes(config)}
    if not isinstance(dense, dict) or set(dense) != wanted or not _values_fit(dense, config):
        raise ValueError("its record of the uncut model does not fit the model's configuration")
    return dense


def _values_fit(dense: dict[str, Any], config: PreTrainedConfig) -> bool:
    """Whether a model of a reasonable size can be built by these values: it is built before it is cut."""
    layers = dense.get("num_hidden_layers", config.num_hidden_layers)
    tokens = dense.get("vocab_size", config.vocab_size)
    padding = dense.get("pad_token_id", 0)
    return (
        all(type(value) is int for name, value in dense.items() if name != "layer_types")
        and whole_numbers([layers], MOST_LAYERS)
        and whole_numbers([tokens], MOST_TOKENS)
        and -tokens <= padding < max(1, tokens)
        and ("layer_types" not in dense or _are_types(dense["layer_types"], layers))
    )


def _are_types(types: Any, layers: int) -> bool:
    return isinstance(types, list) and len(types) == layers and all(isinstance(one, str) for one in types)


def with_values(config: PreTrainedConfig, values: dict[str, Any]) -> PreTrainedConfig:
    """A copy of a configuration, with other values."""
    changed = copy.copy(config)
    for name, value in values.items():
        setattr(changed, name, value)
    return changed


def added(config: PreTrainedConfig, entry: Entry) -> dict[str, Any]:
    """The record of a configuration with one more structure, which is not built yet."""
    check_fits(entry["kind"], architecture_name(config))
    record = getattr(config, "asc", None) or NO_STRUCTURES
    names = STRUCTURES[entry["kind"]].changes(config)
    dense = {name: getattr(config, name) for name in names} | record["dense"]
    entries = list(record["structures"])
    if entries and entries[-1]["kind"] == entry["kind"] == Cut.kind:
        rows = _kept(_origin(config, record)[1], entry["layers"], config)
        entries[-1] = joined(entries[-1], entry, rows)
    else:
        check_order([e["kind"] for e in (*entries, entry)])
        entries.append(dict(entry))
    return {"format": FORMAT, "dense": dense, "structures": entries}


def build(model: PreTrainedModel, entries: Sequence[Entry]) -> None:
    """Give a freshly built full-size model its structures. Raises: ValueError where one does not fit."""
    for entry in entries:
        STRUCTURES[entry["kind"]].build(model, entry)


@dataclass(frozen=True)
class Origin:
    """What is left of the uncut model, in its own numbers. layers: in order of execution. heads: of each row."""

    layers: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]


def origin(config: PreTrainedConfig) -> Origin:
    """Which layers and heads of the uncut model a model with structures has."""
    return _origin(config, getattr(config, "asc", None) or NO_STRUCTURES)[0]


def _origin(config: PreTrainedConfig, record: dict[str, Any]) -> tuple[Origin, list[int]]:
    """(what is left, the row of each layer that is left)"""
    rows = _uncut_rows(with_values(config, record["dense"]))
    layers = list(range(len(rows)))
    heads: list[Sequence[int]] = [range(head_count(config)) for _ in sorted(set(rows))]
    for entry in record["structures"]:
        if entry["kind"] == Cut.kind:
            kept = _kept(rows, entry["layers"], config)
            heads = [[heads[row][head] for head in now] for row, now in zip(kept, entry["heads"], strict=True)]
            rows = [kept.index(rows[layer]) for layer in entry["layers"]]
            layers = [layers[layer] for layer in entry["layers"]]
        elif entry["kind"] == Share.kind:
            shared = [rows[of] for of in entry["layers"]]
            kept = list(dict.fromkeys(shared))
            heads, rows = [heads[row] for row in kept], [kept.index(row) for row in shared]
    return Origin(tuple(layers), tuple(map(tuple, heads))), rows


def _kept(rows: Sequence[int], layers: Sequence[int], config: PreTrainedConfig) -> list[int]:
    """The rows that stay when only some layers run. rows: of each layer."""
    if ARCHITECTURES[architecture_name(config)].inner is not None:
        return sorted(set(rows))
    return list(dict.fromkeys(rows[layer] for layer in layers))


def _uncut_rows(config: PreTrainedConfig) -> list[int]:
    """For each layer of an uncut model in order of execution, the number of its row."""
    layers = int(config.num_hidden_layers)
    if ARCHITECTURES[architecture_name(config)].inner is None:
        return list(range(layers))
    groups, inner = int(config.num_hidden_groups), int(config.inner_group_num)
    return [int(i / (layers / groups)) * inner + j for i in range(layers) for j in range(inner)]
