"""A step: as many positions as the application's texts have tokens."""

from __future__ import annotations

from copy import copy
from typing import ClassVar

from pydantic import Field
from transformers import PreTrainedTokenizerBase

from asc_core import modeling
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError

ROUND = 8


class Positions(Step):
    """Drop the positions behind the longest of the training texts. Texts that are longer still lose their end.

    tokens: of a text, special ones included; None = those of the longest training text, rounded up to 8.
    """

    kind: ClassVar[str] = "positions"
    structure: ClassVar[str | None] = "positions"
    tokens: int | None = Field(
        default=None, ge=2, title="Tokens", description="Of a text at most; empty: as many as the longest training text"
    )

    @property
    def needs_task(self) -> bool:
        return True

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        most = modeling.most_tokens(encoder.model.config)
        if modeling.positions_of(encoder.model) is None or most is None:
            raise UserError(f"{encoder.name} ({encoder.architecture}) has no table of positions that could be shorter.")
        task = context.task
        lengths = task.features(task.examples(task.training_split), encoder).lengths
        tokens = self.tokens or -(-int(lengths.max()) // ROUND) * ROUND
        if tokens > most:
            if self.tokens is not None:
                raise UserError(f"{encoder.name} has positions for {most} tokens, fewer than the {tokens} asked for.")
            tokens = most
        longer = int((lengths > tokens).sum())
        context.done = (
            f"{self.describe()}: {tokens} of {most}, {longer:,} of {len(lengths):,} training texts are longer"
        )
        rows = tokens + modeling.rows_before(encoder.model.config)
        return encoder.with_structure({"kind": self.kind, "rows": rows}, {}, _shorter(encoder.tokenizer, tokens))

    def describe(self) -> str:
        return f"positions for {self.tokens or 'the training texts'}{' tokens' if self.tokens else ''}"


def _shorter(tokenizer: PreTrainedTokenizerBase, tokens: int) -> PreTrainedTokenizerBase:
    """The same, which truncates where the positions end."""
    made = copy(tokenizer)
    made.model_max_length = min(tokens, tokenizer.model_max_length)
    return made
