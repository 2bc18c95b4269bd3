"""How far a model's outputs are from another one's on the same batch: KL of what it says, whatever its head."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from asc_core.errors import UserError

NEVER = -1e4  # a logit, at padding; what is finite has finite gradients
OUTPUTS = ("logits", "start_logits", "end_logits", "intent_logits", "slot_logits")


def soft_targets(
    output: Any, wanted: Any, mask: torch.Tensor, temperature: float, binary: bool = False
) -> torch.Tensor:
    """() T^2 KL(teacher || student), mean over rows (over real tokens where each has outputs of its own).

    One number for each row or token is a regression: half the squared error. mask: (B, T) bool. binary: each logit is
    a decision of its own (multi-label): the sum over them.
    Raises: UserError where the model has none of `OUTPUTS`.
    """
    losses = []
    for name in OUTPUTS:
        mine, theirs = getattr(output, name, None), getattr(wanted, name, None)
        if mine is None or theirs is None:
            continue
        if mine.shape[-1] == 1:
            losses.append((mine - theirs).square().mean() / 2)
            continue
        if name in ("start_logits", "end_logits"):
            mine, theirs = (logits.masked_fill(~mask, NEVER) for logits in (mine, theirs))
        elif mine.dim() == 3:
            mine, theirs = mine[mask], theirs[mask]
        if binary:
            losses.append(temperature**2 * binary_divergence(mine / temperature, theirs / temperature).sum(-1).mean())
            continue
        said, meant = (torch.log_softmax(logits.float() / temperature, -1) for logits in (mine, theirs))
        divergence = functional.kl_div(said, meant, log_target=True, reduction="batchmean")
        losses.append(temperature**2 * divergence)
    if not losses:
        raise UserError("The model has no outputs to distil: set soft = 0 and learn from its hidden states alone.")
    return torch.stack(losses).sum()


def binary_divergence(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """KL of each logit's yes or no, teacher || student, of the logits' shape."""
    said, meant = (
        functional.binary_cross_entropy_with_logits(logits, torch.sigmoid(theirs), reduction="none")
        for logits in (mine, theirs)
    )
    return said - meant


def relative_error(mine: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """() squared error over real tokens, as a share of the square of what was wanted."""
    return (mine - theirs)[mask].square().sum() / theirs[mask].square().sum().clamp_min(1e-12)


def changed_answers(output: Any, wanted: Any, mask: torch.Tensor, binary: bool = False) -> torch.Tensor:
    """(B,) bool, the rows where any decision is another one: a class, a tag of a real token, an end of a span.

    Numbers (regression, embeddings) decide nothing: False. mask, binary: as for `soft_targets`.
    """
    changed = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
    for name in OUTPUTS:
        mine, theirs = getattr(output, name, None), getattr(wanted, name, None)
        if mine is None or theirs is None or mine.shape[-1] == 1:
            continue
        if binary:
            changed |= ((mine > 0) != (theirs > 0)).any(-1)
        elif name in ("start_logits", "end_logits"):
            mine, theirs = (logits.masked_fill(~mask, NEVER) for logits in (mine, theirs))
            changed |= mine.argmax(-1) != theirs.argmax(-1)
        elif mine.dim() == 3:
            changed |= ((mine.argmax(-1) != theirs.argmax(-1)) & mask).any(-1)
        else:
            changed |= mine.argmax(-1) != theirs.argmax(-1)
    return changed
