"""The arguments of a call of a layer, to change some of them: models give them by position or by name, as they like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def argument_places(args: tuple, kwargs: Mapping[str, Any]) -> tuple[int | str, int | str]:
    """Where in a call of a layer its hidden states and its attention mask stand: versions of transformers name both
    otherwise, and only their order is the same everywhere."""
    hidden = 0 if args else next(name for name in ("hidden_states", "x") if name in kwargs)
    if len(args) > 1:
        return hidden, 1
    return hidden, "attn_mask" if "attn_mask" in kwargs else "attention_mask"


def arguments(args: tuple, kwargs: Mapping[str, Any]) -> dict[int | str, Any]:
    """Those of a call, by place or name."""
    found: dict[int | str, Any] = dict(enumerate(args))
    found.update(kwargs.items())
    return found


def positional(given: Mapping[int | str, Any]) -> list[Any]:
    """The arguments of a call by position. given: by place or name."""
    return [given[place] for place in sorted(name for name in given if isinstance(name, int))]


def named(given: Mapping[int | str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if isinstance(name, str)}
