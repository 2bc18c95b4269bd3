"""A step: the tokens that the application's texts are made of, and no others."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from pydantic import Field

from asc_core import modeling
from asc_core.compress.shorter_tokenizer import shorter_tokenizer
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder


class Vocabulary(Step):
    """Drop the rows of the word embedding that the training texts never use, and rebuild the tokenizer without them.

    Texts of kept tokens are split as before and get the same answers; unseen words fall back to smaller pieces.
    least: how often a token has to stand in the training texts; special tokens and single characters stay anyway.
    """

    kind: ClassVar[str] = "vocabulary"
    structure: ClassVar[str | None] = "vocabulary"
    least: int = Field(
        default=1,
        ge=1,
        title="Min. occurrences",
        description="Times that a token stands in the training texts at least",
    )

    @property
    def needs_task(self) -> bool:
        return True

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        task = context.task
        split = "train" if "train" in task.splits else task.splits[0]
        seen: Counter[int] = Counter()
        for ids in task.features(task.examples(split), encoder).input_ids:
            seen.update(ids.tolist())
        name = modeling.word_embedding_name(encoder.model)
        table = encoder.model.get_parameter(name)
        used = [token for token, times in seen.items() if times >= self.least]
        tokenizer, kept = shorter_tokenizer(encoder.tokenizer, used)
        kept = [token for token in kept if token < len(table)]
        entry = {"kind": self.structure, "rows": len(kept), "special": _special(encoder.model.config, kept)}
        return encoder.with_structure(entry, {name: table.detach()[kept]}, tokenizer)

    def describe(self) -> str:
        often = "" if self.least == 1 else f" at least {self.least} times"
        return f"vocabulary of what stands in the training texts{often}"


def _special(config: Any, kept: list[int]) -> dict[str, int]:
    """The configuration's token ids by their new numbers; one that the tokenizer does not know is left out."""
    new = {old: number for number, old in enumerate(kept)}
    asked = {name: getattr(config, name, None) for name in modeling.SPECIAL}
    return {name: new[old] for name, old in asked.items() if isinstance(old, int) and old in new}
