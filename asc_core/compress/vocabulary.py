"""A step: the tokens that the application's texts are made of, a margin of general language, and no others."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from asc_core import modeling
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.tasks.text_file import content_of
from asc_core.vocabulary import Budget, TokenScores, kept_rows, shorter_tokenizer, token_scores


class Vocabulary(Step):
    """Drop the rows of the word embedding that the training texts never use, and rebuild the tokenizer without them.

    Texts of kept tokens are split as before and get the same answers; unseen words fall back to smaller pieces.
    least: how often a token has to stand in the training texts; special tokens and single characters stay anyway.
    margin: so many further tokens stay, the most frequent ones of general language that the training texts lack: new
    texts hold words that these do not. margin_texts: a text file that says what is frequent; without one the
    tokenizer's own order, see `general_order`. rows, share, megabytes: one budget at most, which is then used up; where
    it is short, `by` says which of the used tokens go first.
    """

    kind: ClassVar[str] = "vocabulary"
    structure: ClassVar[str | None] = "vocabulary"
    least: int = Field(
        default=1,
        ge=1,
        title="Min. occurrences",
        description="Times that a token stands in the training texts at least",
    )
    margin: int = Field(
        default=0,
        ge=0,
        title="Margin",
        description="Further tokens of general language, the most frequent ones first",
    )
    margin_texts: str = Field(
        default="",
        title="General text",
        description="A text file that says which tokens are frequent; empty: the tokenizer's own order",
    )
    rows: int | None = Field(default=None, ge=1, title="Rows", description="Tokens that stay, in all")
    share: float | None = Field(default=None, gt=0, le=1, title="Share", description="Share of the tokens that stay")
    megabytes: float | None = Field(
        default=None, gt=0, title="MB", description="What the word embedding may take in float32, 10^6 bytes"
    )
    by: Literal["count", "effect"] = Field(
        default="count",
        title="Go first",
        description="Where rows are short: the tokens used least, or those whose pieces change the outputs least",
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Vocabulary:
        if sum(one is not None for one in (self.rows, self.share, self.megabytes)) > 1:
            raise ValueError("rows, share and megabytes are one budget: say one of them")
        return self

    @property
    def needs_task(self) -> bool:
        return True

    def cache_key(self) -> Any:
        """What is as usual is left out, so that results of before these fields were there are still found."""
        said = {"least": self.least, **self.model_dump(mode="json", exclude_defaults=True)}
        if self.margin_texts:
            said["margin_texts"] = content_of(self.margin_texts)
        return [self.kind, said]

    def kept(self, scores: TokenScores) -> list[int]:
        """Old numbers of the rows that stay. Raises: UserError where the budget is too short."""
        most = Budget(self.rows, self.share, self.megabytes).in_rows(scores.rows, scores.width)
        return kept_rows(
            scores.model,
            scores.used,
            scores.general.tokens,
            least=self.least,
            margin=self.margin,
            most=most,
            worth=scores.worth,
        )

    @property
    def uses_general_order(self) -> bool:
        """Whether it matters which tokens are frequent in general."""
        return self.margin > 0 or (self.rows, self.share, self.megabytes) != (None, None, None)

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        scores = token_scores(
            encoder,
            context.task,
            margin_texts=self.margin_texts,
            effects=self.by == "effect",
            progress=context.progress,
        )
        rows = self.kept(scores)
        tokenizer, kept = shorter_tokenizer(encoder.tokenizer, rows)
        kept = [token for token in kept if token < encoder.tokens]
        if self.uses_general_order:
            said = scores.general.note.removesuffix(".")
            context.done = f"{self.describe()}: {len(kept):,} of {encoder.tokens:,} tokens. {said}"
        entry = {"kind": self.structure, "rows": len(kept), "special": _special(encoder.model.config, kept)}
        return encoder.with_structure(entry, modeling.rows_of_tokens(encoder.model, torch.tensor(kept)), tokenizer)

    def describe(self) -> str:
        often = "" if self.least == 1 else f" at least {self.least} times"
        said = f"vocabulary of what stands in the training texts{often}"
        if self.margin:
            said += f" and {self.margin:,} further tokens"
        if self.rows is not None:
            return f"{said}, {self.rows:,} rows"
        if self.share is not None:
            return f"{said}, {100 * self.share:.0f} % of the rows"
        return said if self.megabytes is None else f"{said}, {self.megabytes:g} MB"


def _special(config: Any, kept: list[int]) -> dict[str, int]:
    """The configuration's token ids by their new numbers; one that the tokenizer does not know is left out."""
    new = {old: number for number, old in enumerate(kept)}
    asked = {name: getattr(config, name, None) for name in modeling.SPECIAL}
    return {name: new[old] for name, old in asked.items() if isinstance(old, int) and old in new}
