"""Rows of the word embedding as parts: what uses them, which ones stay, and what becomes of texts without them."""

from asc_core.vocabulary.dropped_pieces import Apart, evaluate_apart
from asc_core.vocabulary.general_order import GeneralOrder, general_order
from asc_core.vocabulary.kept_rows import Budget, kept_rows
from asc_core.vocabulary.shorter_tokenizer import shorter_tokenizer
from asc_core.vocabulary.token_model import TokenModel, token_model
from asc_core.vocabulary.token_scores import TokenScores, token_scores
from asc_core.vocabulary.use import token_counts

__all__ = [
    "Apart",
    "Budget",
    "GeneralOrder",
    "TokenModel",
    "TokenScores",
    "evaluate_apart",
    "general_order",
    "kept_rows",
    "shorter_tokenizer",
    "token_counts",
    "token_model",
    "token_scores",
]
