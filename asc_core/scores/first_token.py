"""Compute the last layer for the first token alone, where a head reads no other.

A classifier on [CLS] reads one row of the last layer's output. That layer still needs keys and values of all tokens,
but queries, attention readout and FFN of one: most of its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from asc_core import modeling
from asc_core.scores.restart import Inputs, Restartable


def reads_first_token_only(restartable: Restartable, inputs: Inputs) -> bool:
    """Whether nothing that the model says depends on the last layer's output at any token but the first.

    Found by experiment, because classes of one architecture pool differently by configuration (ModernBERT): the
    output for random hidden states must stay the same, bit by bit, when those of the other tokens are not a number.
    """
    batch, tokens = inputs["input_ids"].shape
    if tokens < 2:
        return False
    encoder = restartable.encoder
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(batch, tokens, encoder.shape.hidden, generator=generator).to(encoder.device)
    poisoned = hidden.clone()
    poisoned[:, 1:] = torch.nan
    last = restartable.layers - 1
    clean, other = (restartable.resume(last, inputs, states) for states in (hidden, poisoned))
    tensors = [name for name, value in clean.items() if isinstance(value, torch.Tensor)]
    return all(torch.equal(clean[name], other[name]) for name in tensors)


@contextmanager
def first_token_only(restartable: Restartable) -> Iterator[None]:
    """Inside the `with`, passes compute the last layer for the first token; its output elsewhere means nothing.

    The inputs of the attention readout and of the FFN are narrowed to one token; what they write is then broadcast
    over the residual stream, so that every shape that the architecture expects is kept. So is the query's, whose one
    row stands for all.
    """
    row = modeling.rows_of(restartable.encoder.model)[restartable.encoder.shape.rows[-1]]
    table = modeling.architecture_of(restartable.encoder.model)

    def in_last_layer() -> bool:
        return restartable.running == restartable.layers - 1  # weights that are shared also serve the layers below

    def narrow(module: nn.Module, args: tuple) -> Any:
        return (args[0][..., :1, :], *args[1:]) if in_last_layer() else None

    with ExitStack() as undo:
        for module in (row.get_submodule(table.attention_readout), *modeling.feeding(table, row, "ffn")):
            undo.callback(module.register_forward_pre_hook(narrow).remove)
        query = modeling.plain_query(table)
        if query is not None:
            _replace_forward(undo, row.get_submodule(query), _one_row_for_all, in_last_layer)
        _replace_forward(undo, row, _with_one_query, in_last_layer)
        yield


def _replace_forward(undo: ExitStack, module: nn.Module, lean: Callable[..., Any], when: Callable[[], bool]) -> None:
    forward, own = module.forward, "forward" in vars(module)

    @wraps(forward)
    def either(*args: Any, **kwargs: Any) -> Any:
        return lean(forward, *args, **kwargs) if when() else forward(*args, **kwargs)

    module.forward = either
    undo.callback(partial(setattr, module, "forward", forward) if own else partial(delattr, module, "forward"))


def _one_row_for_all(forward: Callable[..., Any], hidden: torch.Tensor) -> torch.Tensor:
    return forward(hidden[..., :1, :]).expand(*hidden.shape[:-1], -1)


def _with_one_query(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _FirstQuery():
        return forward(*args, **kwargs)


class _FirstQuery(TorchFunctionMode):
    """Fused attention is computed for the first query and repeated for the others."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, mask = args[0], kwargs.get("attn_mask")
        if mask is not None and mask.shape[-2] > 1:
            kwargs["attn_mask"] = mask[..., :1, :]
        context = func(query[..., :1, :], *args[1:], **kwargs)
        return context.expand(*query.shape[:-1], context.shape[-1])
