"""What an adapter_config.json may ask for, checked before peft builds anything by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asc_core.checkpoint.bounds import MOST_LAYERS
from asc_core.checkpoint.trial import MATCHES, SECONDS, went_well
from asc_core.errors import UserError

_RANKS: tuple[str, ...] = ("r", "init_r", "target_r", "n_frequency", "num_vectors", "vector_length", "oft_block_size")
_RANKS += ("boft_block_size", "boft_block_num", "boft_n_butterfly_factor")
_SPARE = 16
_LONGEST_PATTERN = 2000
_PLAIN = re.compile(r"[\w.\-]*")


def check_adapter(folder: Path, said: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> None:
    """shapes: of the weights that the adapter brings. Raises: UserError with the first number that they do not bear
    out."""
    most = max((size for shape in shapes.values() for size in shape), default=0) + _SPARE
    for name, value in _ranks(said):
        if value > most:
            raise UserError(
                f"{folder}/adapter_config.json: {name} is {value:,}, and no weight of the adapter has more than "
                f"{most - _SPARE:,} rows or columns: correct it."
            )
    layers = said.get("layer_replication")
    count = 0
    for pair in layers if isinstance(layers, list) else ():
        first, last = pair if isinstance(pair, list) and len(pair) == 2 else (0, 0)
        count += max(0, last - first) if isinstance(first, int) and isinstance(last, int) else 0
    if count > MOST_LAYERS:
        raise UserError(
            f"{folder}/adapter_config.json: layer_replication makes {count:,} layers, more than the {MOST_LAYERS:,} "
            "that an encoder may have: correct it."
        )


def check_patterns(folder: Path, said: Mapping[str, Any], names: Sequence[str]) -> None:
    """names: of the base's modules. Raises: UserError for an expression that does not come to an end on them."""
    patterns = [pattern for pattern in _patterns(said) if not _PLAIN.fullmatch(pattern)]
    longest = max(map(len, patterns), default=0)
    if longest > _LONGEST_PATTERN or (patterns and not went_well(MATCHES, {"patterns": patterns, "names": [*names]})):
        raise UserError(
            f"{folder}/adapter_config.json selects modules by an expression that is none, or does not come to an end "
            f"within {SECONDS} seconds: name the modules in a list."
        )


def _ranks(said: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name in _RANKS:
        if isinstance(said.get(name), int):
            yield name, said[name]
    pattern = said.get("rank_pattern")
    for name, value in pattern.items() if isinstance(pattern, dict) else ():
        if isinstance(value, int):
            yield f"rank_pattern of {name[:80]}", value


def _patterns(said: Mapping[str, Any]) -> Iterator[str]:
    for name in ("target_modules", "exclude_modules", "layers_pattern"):
        value = said.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list) and name == "layers_pattern":
            yield from (each for each in value if isinstance(each, str))
    for name in ("rank_pattern", "alpha_pattern"):
        value = said.get(name)
        if isinstance(value, dict):
            yield from (rf"(?:.*\.)?(?:{each})" for each in value if not _PLAIN.fullmatch(each))
