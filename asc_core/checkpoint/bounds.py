"""Sizes that a configuration may name, checked before anything is built by them.

A number with too many digits, by a slip or on purpose, would else be layers without end or more memory than there is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from asc_core.errors import UserError

MOST_LAYERS = 1 << 10
MOST_CLASSES = 1 << 20
MOST = 1 << 24  # of anything else: rows and columns of a matrix, positions, tokens
_SIZES = re.compile(
    r"(^|_)(num|number|n|size|sizes|dim|dims|width|layers?|heads?|groups?|labels|embeddings|positions|buckets|kernel|"
    r"experts|rank|window|attention_span)(_|$)"
)
_LAYERS = re.compile(r"(^|_)(layers|groups?|n_layer)(_|$)|inner_group_num")
SPARE = 1 << 26  # numbers that a model may have beyond its file's: a head and a pooler that are made anew


def check_sizes(source: str, data: Mapping[str, Any]) -> None:
    """data: the content of config.json. Raises: UserError with the first size that no encoder has."""
    for name, value in data.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not _SIZES.search(name):
            continue
        most = MOST_LAYERS if _LAYERS.search(name) else MOST_CLASSES if name == "num_labels" else MOST
        if value > most:
            raise UserError(
                f"{source}: {name} in its config.json is {_short(value)}, more than the {most:,} that an encoder may "
                "have: correct it."
            )
    layers, inner = data.get("num_hidden_layers"), data.get("inner_group_num")
    if isinstance(layers, int) and isinstance(inner, int) and layers * inner > MOST_LAYERS:
        raise UserError(
            f"{source}: num_hidden_layers times inner_group_num in its config.json is {layers * inner:,}, more than "
            f"the {MOST_LAYERS:,} layers that an encoder may have: correct it."
        )


def check_memory(model_class: type[PreTrainedModel], config: Any, stored: Mapping[str, int], source: str) -> None:
    """stored: name -> how many numbers each weight in the files has.

    Raises: UserError where a configuration asks for a model so much larger than its weights that it cannot be theirs;
    whatever else is wrong with it is left to whoever builds it.
    """
    try:
        with torch.device("meta"):
            model = model_class(config)
    except Exception:  # it will be raised again, and named, when the model is built for real
        return
    wanted = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total, own = sum(wanted.values()), sum(stored.values())
    if total > 2 * own + SPARE:
        name = max(wanted, key=lambda each: wanted[each] - stored.get(each, 0))
        raise UserError(
            f"{source}: its configuration asks for a model of {total:,} parameters, its files hold {own:,}; {name} "
            f"alone would have {wanted[name]:,}: correct its config.json."
        )


def _short(value: float) -> str:
    """A number that may have thousands of digits."""
    return f"{value:,}" if abs(value) < 1e15 else f"a number of {len(str(int(value)))} digits"
