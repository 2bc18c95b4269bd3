"""How sharply heads look: scores from attention probabilities, which only eager attention gives out.

Fused kernels never hold them, and asking a model that runs one for its attentions returns nothing, without a word. So
the sweep switches its own copy of the model to eager attention, and only if one of these methods is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from asc_core import modeling
from asc_core.errors import UserError
from asc_core.scores.collector import Collector, Tally
from asc_core.scores.method import FromStatistics, each_part
from asc_core.scores.streaming import Statistic

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.scores.collector import BatchView, ReadoutWeights


class Attention(Collector):
    """Sums over all tokens of the largest attention weight, and of 1 - entropy / log(tokens of the text)."""

    reads_attention = True

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.tally = Tally()
        self._most = view.tokens.float().log().clamp_min(torch.finfo(torch.float32).tiny)

    @torch.no_grad()
    def attended(self, row: int, probabilities: torch.Tensor) -> None:
        entropy = torch.special.entr(probabilities).sum(-1).mean(2)  # (rows, heads, T)
        self._add("confidence.heads", row, probabilities.amax(-1).mean(2))
        self._add("focus.heads", row, 1 - entropy / self._most[:, None, None])

    def _add(self, name: str, row: int, values: torch.Tensor) -> None:
        sums = values.masked_fill(~self.view.mask[:, None, :], 0).sum(-1)
        self.tally.add(name, row, self.view.per_feature(sums))

    def statistics(self) -> dict[str, Statistic]:
        return {name: Statistic(self.tally.mean(name), "token") for name in ("confidence.heads", "focus.heads")}


def reveal_attention(encoder: Encoder, tell: Callable[[int, torch.Tensor], None]) -> None:
    """Switch an encoder to eager attention for good; tell(row, (rows, heads, queries, T, T)) is called in every forward pass.

    A head has several queries where they share a key and a value, else one.

    Raises: UserError where the encoder has no eager attention; in the forward pass, where it gives no probabilities.
    """
    try:
        encoder.model.set_attn_implementation("eager")
    except (ValueError, AttributeError):
        raise UserError(_refusal(encoder)) from None
    path = modeling.architecture_of(encoder.model).attention
    for row, (layer, heads) in enumerate(zip(modeling.rows_of(encoder.model), encoder.shape.heads, strict=True)):
        module = modeling.submodule(layer, path)
        assert module is not None

        def told(module: nn.Module, args: Any, output: Any, row: int = row, heads: int = heads) -> None:
            found = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if found is None and heads == 0:
                context = output[0] if isinstance(output, tuple) else output
                found = context.new_zeros(context.shape[0], 0, context.shape[1], context.shape[1])
            if found is None:
                raise UserError(_refusal(encoder))
            tell(row, found.unflatten(1, (heads, found.shape[1] // max(1, heads))))

        if "output_attentions" in inspect.signature(module.forward).parameters:
            module.register_forward_pre_hook(_ask, with_kwargs=True)
        module.register_forward_hook(told)


def _ask(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """MPNet and DeBERTa give their probabilities only when they are asked to."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.arguments["output_attentions"] = True
    return bound.args, bound.kwargs


def _refusal(encoder: Encoder) -> str:
    return (
        f"The attention of {encoder.name} ({encoder.architecture}) gives no probabilities: leave out the methods that "
        "need them (confidence, attention-entropy)."
    )


METHODS = (
    FromStatistics(
        id="confidence",
        title="Head confidence",
        description="The largest attention weight of a token, mean over tokens. Needs eager attention.",
        source="Voita et al. 2019, arXiv 1905.09418, section 4",
        parts=("heads",),
        collector=Attention,
        statistics={"confidence.heads": "token"},
        combine=each_part,
        asked="in all",
    ),
    FromStatistics(
        id="attention-entropy",
        title="Attention entropy",
        description="1 minus the entropy of a token's attention weights over its maximum, log of the text's tokens, "
        "mean over tokens: 1 where a head looks at one token, 0 where at all alike. Needs eager attention.",
        source="Clark et al. 2019, arXiv 1906.04341, section 3.3, turned so that more is sharper",
        parts=("heads",),
        collector=Attention,
        statistics={"focus.heads": "token"},
        combine=each_part,
        asked="in all",
    ),
)
