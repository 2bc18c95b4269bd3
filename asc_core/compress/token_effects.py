"""What a token's leaving below a layer does to a model's outputs, from gradients, and a linear rule that foresees it.

A token that leaves below layer l is no key and no value in the layers from l on, and its own state stays what it was.
To first order that changes the outputs y by

    sum over j >= l of dy/dm_j + dy/dh_L . (h_l - h_L),

m_j the token's entry of layer j's additive attention mask, h_l its state below layer l, h_L the last one. Of a random
projection of the outputs these are two numbers for each token; the effect is the sum of their squares (the layers'
taken apart). The projection is drawn so that the square of the outputs' change is, in the mean, twice the KL divergence
of what the model says (a root of the softmax's Fisher information), so effects of tokens, layers and tasks are in one
currency.

The rule is a ridge regression of an effect's logarithm on the token's state below the layer, both less their means over
the text, for tokens compete with those of their own text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from asc_core import modeling
from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.compress.calibration import RowNoise
from asc_core.encoder import Encoder
from asc_core.probes import Probe, probing
from asc_core.progress import CALIBRATING, Progress
from asc_core.scores.sensitivity import random_projection
from asc_core.scores.sweep_pass import frozen
from asc_core.sentences import Sentences
from asc_core.tasks.base import Batch, Features, Task
from asc_core.tasks.soft_targets import NEVER

DRAWS = 2  # projections of each text: one alone is a number times a chi square
RIDGE = 1e-3  # of the mean of a second moment's diagonal
LEAST = 1e-6  # of the mean effect of a text's tokens: below that, all are alike

Noise = Callable[[int, torch.Size], torch.Tensor]


@dataclass(frozen=True)
class TokenEffects:
    """Of a batch. real: (B, T) bool. states, effects: for each layer from the second on, (B, T, d) and (B, T) of the
    tokens that could leave below it."""

    real: torch.Tensor
    states: list[torch.Tensor]
    effects: list[torch.Tensor]


def token_effects(
    encoder: Encoder, task: Task, features: Features, rows: np.ndarray, seed: int, progress: Progress
) -> Iterator[TokenEffects]:
    """Batch by batch. rows: of the features. Raises: Cancelled."""
    runner = frozen(encoder)
    done = 0
    for places in batches_by_length(features.lengths[rows], BATCH_TOKENS.get(encoder.device.type, 2048)):
        chosen = rows[places]
        progress.step(done, len(rows), f"what tokens do in {task.name}", CALIBRATING)
        yield _of_batch(runner, task.batch(features, chosen, runner), chosen, task.kind == "multi-label", seed)
        done += len(chosen)
    progress.step(len(rows), len(rows), f"what tokens do in {task.name}", CALIBRATING)


def fitted_rules(found: Iterator[TokenEffects]) -> list[torch.Tensor]:
    """For each layer from the second on (d,): the larger its product with a state, the more the leaving does."""
    moments: list[torch.Tensor] = []
    products: list[torch.Tensor] = []
    for batch in found:
        for layer, (states, effects) in enumerate(zip(batch.states, batch.effects, strict=True)):
            inputs = _less_mean(states.double(), batch.real)
            mean = (effects * batch.real).sum(1, keepdim=True) / batch.real.sum(1, keepdim=True)
            logarithms = (effects / mean.clamp_min(1e-30) + LEAST).log().double()
            wanted = _less_mean(logarithms[..., None], batch.real)
            if layer == len(moments):
                moments.append(torch.zeros(inputs.shape[-1], inputs.shape[-1], dtype=torch.float64))
                products.append(torch.zeros(inputs.shape[-1], dtype=torch.float64))
            moments[layer] += (inputs.T @ inputs).cpu()
            products[layer] += (inputs.T @ wanted)[:, 0].cpu()
    rules = []
    for moment, product in zip(moments, products, strict=True):
        ridge = RIDGE * moment.diagonal().mean().clamp_min(1e-12)
        rules.append(torch.linalg.solve(moment + ridge * torch.eye(len(moment), dtype=torch.float64), product).float())
    return rules


def price_curves(found: Iterator[TokenEffects], rules: list[torch.Tensor], shares: list[int]) -> np.ndarray:
    """(layers - 1, shares) the effects of the tokens that leave below each layer where only a share stays, summed.

    shares: in thousandths. The tokens are in the order of the rules, the first one of each text stays.
    """
    total = np.zeros((len(rules), len(shares)))
    for batch in found:
        lengths = batch.real.sum(1, keepdim=True)
        for layer, rule in enumerate(rules):
            value = batch.states[layer] @ rule.to(batch.states[layer])
            value[:, 0] = torch.inf
            order = value.masked_fill(~batch.real, -torch.inf).argsort(1, descending=True)
            effects = (batch.effects[layer] * batch.real).gather(1, order)
            rank = torch.arange(order.shape[1], device=order.device)[None]
            for number, share in enumerate(shares):
                leave = rank >= modeling.kept_tokens(lengths, share)
                total[layer, number] += float(effects[leave].sum())
    return total


def fisher_projection(output: Any, mask: torch.Tensor, draw: Noise, binary: bool) -> torch.Tensor:
    """Inner product of a model's logits with random numbers whose second moments are the Fisher information of what it
    says: the mean square of its change is twice the KL divergence, to second order.

    output: as for `random_projection`. mask: (B, T) bool. binary: each logit is a decision of its own (multi-label).
    A regression's number counts as it is.
    """
    total = mask.new_zeros((), dtype=torch.float32)
    for number, (name, value) in enumerate((n, v) for n, v in output.items() if "logits" in n):
        noise = draw(number, value.shape).to(value.device)
        spans = name in ("start_logits", "end_logits")
        logits = value.masked_fill(~mask, NEVER) if spans else value
        said = logits.detach()
        if value.shape[-1] > 1 and not binary:
            shares = said.softmax(-1)
            noise = _centred(noise * shares.sqrt(), shares)
        elif binary:
            noise = noise * (said.sigmoid() * (-said).sigmoid()).sqrt()
        if value.dim() == 3:
            noise = noise * mask[..., None]
        total = total + (logits * noise).sum()
    return total


def _centred(noise: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """noise: normal numbers times the roots of `shares`. With p the shares, its covariance becomes diag(p) - p p^T."""
    return noise - shares * noise.sum(-1, keepdim=True)


def _of_batch(encoder: Encoder, batch: Batch, rows: np.ndarray, binary: bool, seed: int) -> TokenEffects:
    real = batch.mask.bool()
    gates: list[torch.Tensor] = []
    seen = _States()
    with ExitStack() as hooks:
        for row in modeling.rows_of(encoder.model):
            hooks.callback(_gated(row, gates).remove)
        with torch.enable_grad(), probing(seen):
            output = encoder.model(**batch.inputs)
    last = seen.last
    states = [state.detach() for state in seen.below[1:]]
    effects = [torch.zeros(real.shape, device=real.device) for _ in states]
    for drawn in range(DRAWS):
        noise = RowNoise(seed + 1000 * drawn, rows.tolist(), batch.rows_per_feature)
        with torch.enable_grad():
            said = _projected(encoder, output, real, noise, binary)
        found = torch.autograd.grad(said, [last, *gates[1:]], retain_graph=drawn + 1 < DRAWS, allow_unused=True)
        gradient = found[0] if found[0] is not None else torch.zeros_like(last)
        of_gates = [
            torch.zeros(real.shape, device=real.device) if g is None else g[:, 0, 0].square() for g in found[1:]
        ]
        above = torch.zeros(real.shape, device=real.device)
        for layer in reversed(range(len(states))):
            above = above + of_gates[layer]
            own = (gradient * (states[layer] - last.detach())).sum(-1).square()
            effects[layer] = effects[layer] + (above + own) / DRAWS
    return TokenEffects(real, states, effects)


def _projected(encoder: Encoder, output: Any, real: torch.Tensor, noise: Noise, binary: bool) -> torch.Tensor:
    if encoder.head != "embedding":
        return fisher_projection(output, real, noise, binary)
    pooling = encoder.sentences or Sentences()
    vector = pooling.embed(output.last_hidden_state, real.long(), pooling.prompt_tokens(encoder.tokenizer))
    return random_projection({"logits": vector}, real, noise)


class _States(Probe):
    def __init__(self) -> None:
        self.below: list[torch.Tensor] = []
        self.last: torch.Tensor

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        self.below.append(hidden)

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.last = after


def _gated(layer: nn.Module, gates: list[torch.Tensor]) -> RemovableHandle:
    """From now on each call of a layer has a gate on its attention mask: (B, 1, 1, T) of zeros, added to it."""

    def begin(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        hidden_at, mask_at = modeling.argument_places(args, kwargs)
        given = modeling.arguments(args, kwargs)
        hidden, mask = given[hidden_at], given.get(mask_at)
        texts, tokens = hidden.shape[:2]
        gate = torch.zeros(texts, 1, 1, tokens, dtype=hidden.dtype, device=hidden.device, requires_grad=True)
        gates.append(gate)
        given[mask_at] = (gate + _added(mask, gate)).expand(texts, 1, tokens, tokens)
        return tuple(modeling.positional(given)), modeling.named(given)

    return layer.register_forward_pre_hook(begin, with_kwargs=True)


def _added(mask: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1, T), what a mask of whatever form adds to attention scores."""
    if mask is None:
        return torch.zeros_like(like)
    mask = mask[:, None, None, :] if mask.dim() == 2 else mask[:, :, :1]
    if mask.is_floating_point() and mask.dim() == 4:
        return mask.to(like.dtype)
    return torch.zeros_like(like).masked_fill(~mask.bool(), torch.finfo(like.dtype).min / 2)


def _less_mean(values: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """(real tokens, width) of (B, T, width), each less the mean of its text's."""
    weights = real[..., None].to(values.dtype)
    mean = (values * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp_min(1)
    return (values - mean)[real]
