"""A step: tokens that an application does not need leave between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from asc_core import modeling
from asc_core.compress.matrix_scan import MatrixScanner
from asc_core.compress.step import Step, StepContext
from asc_core.compress.token_effects import fitted_rules, price_curves, token_effects
from asc_core.compress.token_schedule import SHARES, Schedule, cheapest, flops_table, geometric
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan.encoder_cost import task_lengths

SAMPLES = 512
TOKENS = 16384  # that the rules are fitted on
PRICED = 4096  # further ones, on which prices are summed
POWERS = (1.0, 0.5)  # of prices: what many tokens do together may be less than the sum
SHORT = 16  # tokens of a text, below which hardly any can leave


class EliminateTokens(Step):
    """Tokens leave between layers, those that the application misses least first, and keep their last state.

    keep: share of the layers' FLOPs at the lengths of the training texts. Then the shares of tokens that enter the
    layers are chosen: several schedules within the budget, by prices from gradients and plainly geometric ones, run on
    training texts, and the one stays whose outputs are nearest (KL) to those before. schedule: these shares
    themselves, one a layer, the first one 1, instead.
    by: what a token's significance is. "effect": what its leaving would do to the model's outputs, by gradients on
    training texts, foreseen from its state by a linear rule. "attention": the attention that it receives (PoWER-BERT,
    Goyal et al. 2020, without its training).
    """

    kind: ClassVar[str] = "eliminate-tokens"
    structure: ClassVar[str | None] = "tokens"
    keep: float = Field(
        default=0.7, gt=0, le=1, title="FLOPs kept", description="Share of the layers' FLOPs at the texts' lengths"
    )
    schedule: tuple[float, ...] = ()
    by: Literal["effect", "attention"] = Field(
        default="effect", title="Leave by", description="What its leaving would do, or the attention that it receives"
    )
    samples: int = Field(default=SAMPLES, ge=8)
    seed: int = Field(default=0, ge=0)

    @field_validator("schedule")
    @classmethod
    def _rounded(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(round(share, 3) for share in value)

    @property
    def needs_task(self) -> bool:
        return not self.schedule or self.by == "effect"

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        _structured(encoder, [1] * encoder.shape.layers, "attention", [])  # what cannot be is said at once
        if not self.needs_task:
            return _structured(encoder, self.schedule, self.by, [])
        rules, prices = self._known(encoder, context)
        if self.schedule:
            return _structured(encoder, self.schedule, self.by, rules)
        lengths = task_lengths(encoder, context.task)
        flops = flops_table(encoder, lengths)
        candidates = _candidates(prices, flops, self.keep * flops[:, -1].sum())
        if not candidates:
            least = (flops[0, -1] + flops[1:, 0].sum()) / flops[:, -1].sum()
            raise UserError(
                f"keep = {self.keep:g}: all tokens enter the first layer, so at least {least:.2f} of the FLOPs stay."
            )
        return self._best(encoder, context, candidates, rules, float(lengths.mean()))

    def describe(self) -> str:
        by = {"effect": "what they do", "attention": "attention received"}[self.by]
        if self.schedule:
            return f"tokens leave by {by}: {' '.join(f'{share:g}' for share in self.schedule)} of them enter the layers"
        return f"tokens leave by {by}: {100 * self.keep:g} % of the layers' FLOPs"

    def _known(self, encoder: Encoder, context: StepContext) -> tuple[list[torch.Tensor], np.ndarray]:
        """(the rules, the prices on texts that they were not fitted on)"""
        task = context.task
        split = task.training_split
        features = task.features(task.examples(split, self.samples, self.seed), encoder)
        drawn = np.random.default_rng((self.seed, 7)).permutation(len(features))
        total = np.cumsum(features.lengths[drawn])
        priced = max(1, int(np.searchsorted(total, min(PRICED, total[-1] // 4))))
        fitted = drawn[priced : priced + max(1, int(np.searchsorted(total[priced:] - total[priced - 1], TOKENS)))]
        given = (encoder, task, features)
        rules = fitted_rules(token_effects(*given, fitted if len(fitted) else drawn, self.seed, context.progress))
        if self.schedule:
            return rules, np.zeros(0)
        found = token_effects(*given, drawn[:priced], self.seed, context.progress)
        return rules, price_curves(found, rules, list(SHARES))

    def _best(
        self,
        encoder: Encoder,
        context: StepContext,
        candidates: Sequence[Schedule],
        rules: list[torch.Tensor],
        mean_length: float,
    ) -> Encoder:
        scanner = MatrixScanner(encoder, context.task, samples=self.samples, seed=self.seed + 1)
        tried = []
        for number, schedule in enumerate(candidates):
            context.progress.step(number, len(candidates), "schedules of tokens tried")
            made = _structured(encoder, [part / modeling.PARTS for part in schedule], self.by, rules)
            tried.append((scanner.effect_of(made.model), made))
        effect, best = min(tried, key=lambda each: each[0].divergence)
        keep = best.structures[-1]["keep"]
        changed = f", {100 * effect.changed:.1f} % of the answers" if effect.decides else ""
        context.done = (
            f"{self.describe()}; {' '.join(f'{share:g}' for share in keep)} of the tokens enter the layers, which "
            f"changes the outputs of {scanner.texts} training texts by {effect.divergence:.2g}{changed}"
        )
        if mean_length < SHORT:
            context.done += f". Texts have {mean_length:.0f} tokens on average, of which few can be spared"
        return best


def _structured(encoder: Encoder, keep: Sequence[float], by: str, rules: Sequence[torch.Tensor]) -> Encoder:
    """rules: for each layer from the second on; none by attention."""
    safe = {encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id} - {None}
    entry: dict[str, Any] = {"kind": "tokens", "keep": list(keep), "safe": sorted(safe), "by": by}
    losing = modeling.layers_losing(keep) if by == "effect" else []
    tensors = {modeling.effect_name(encoder.model, i): rules[i - 1][None] for i in losing if i <= len(rules)}
    return encoder.with_structure(entry, tensors)


def _candidates(prices: np.ndarray, flops: np.ndarray, budget: float) -> list[Schedule]:
    by_price = [cheapest(prices**power, flops, budget) for power in POWERS]
    found = [schedule for schedule in by_price if schedule is not None]
    return list(dict.fromkeys([*found, *geometric(flops, budget)]))
