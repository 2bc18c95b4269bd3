"""A model to begin with where there is none: a BiLSTM over an application's words and, if wanted, many more of them.

Its words are those of the training texts, most frequent first, and behind them those of a file of word vectors or of a
list of words, in its order, up to a number. What a file has a vector for begins with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asc_core import modeling
from asc_core.checkpoint.bounds import MOST_LAYERS
from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.loading import best_device
from asc_core.tasks.base import Task
from asc_core.train.heads import describe_head
from asc_core.vocabulary.word_tokenizer import (
    PADDING,
    SEPARATOR,
    SPECIAL,
    UNKNOWN,
    one_word,
    texts_of,
    word_tokenizer,
    words_in,
)
from asc_core.vocabulary.word_vectors import MOST_WIDTH, MOST_WORDS, WordVectors, read_vectors, read_words

WIDTH, HIDDEN, LAYERS, WORDS = 300, 256, 2, 200_000
EPOCHS, PATIENCE = 20, 5  # of what begins at random


@dataclass(frozen=True)
class BiLstm:
    """width: of a word's row, None = that of the vectors, else 300. hidden: of each direction. words: rows of the table
    at most, special tokens included. vectors, word_list: files, see `word_vectors`; one of them or none. lower: whether
    texts are read in lower case.
    Raises: UserError where a number makes no sense.
    """

    width: int | None = None
    hidden: int = HIDDEN
    layers: int = LAYERS
    words: int = WORDS
    vectors: str | Path | None = None
    word_list: str | Path | None = None
    lower: bool = True

    def __post_init__(self) -> None:
        for name, value, most in (
            ("width", self.width, MOST_WIDTH),
            ("hidden", self.hidden, MOST_WIDTH),
            ("layers", self.layers, MOST_LAYERS),
        ):
            if value is not None and not 1 <= value <= most:
                raise UserError(f"{name} = {value}: give 1 to {most:,}.")
        if not len(SPECIAL) < self.words <= MOST_WORDS:
            raise UserError(f"words = {self.words}: give {len(SPECIAL) + 1} to {MOST_WORDS:,}.")
        if self.vectors is not None and self.word_list is not None:
            raise UserError("Give either vectors, whose words they bring, or a list of words.")

    @property
    def command(self) -> str:
        """As `asc finetune` takes it."""
        given = {
            "--width": self.width,
            "--hidden": self.hidden,
            "--layers": self.layers,
            "--words": self.words,
            "--vectors": self.vectors and Path(self.vectors).name,
            "--word-list": self.word_list and Path(self.word_list).name,
        }
        said = "".join(f" {name} {value}" for name, value in given.items() if value is not None)
        return f"--model bilstm{said}{'' if self.lower else ' --cased'}"


def fresh_bilstm(task: Task, options: BiLstm = BiLstm(), seed: int = 0, device: str | None = None) -> Encoder:
    """An untrained BiLSTM with the head that a task needs. What begins at random is drawn by `seed`.

    Raises: UserError where the task needs a head that it has not, or a file is none of words or vectors of this width.
    """
    auto = HEADS[task.head]
    if auto not in modeling.heads_of("bilstm"):
        raise UserError(f"A BiLSTM has no head for {task.kind}, which {task.name} is: fine-tune a Transformer for it.")
    words, vectors = _vocabulary(task, options)
    if vectors.width is not None and options.width not in (None, vectors.width):
        raise UserError(
            f"The vectors of {options.vectors} are {vectors.width} wide, the model is to be {options.width}: leave the "
            "width out."
        )
    config_class: Any = modeling.compact_class("bilstm", "AutoConfig")
    config = config_class(
        vocab_size=len(SPECIAL) + len(words),
        embedding_size=vectors.width or options.width or WIDTH,
        hidden_size=2 * options.hidden,
        num_hidden_layers=options.layers,
        pad_token_id=PADDING,
        unk_token_id=UNKNOWN,
        sep_token_id=SEPARATOR,
    )
    config.asc = dict(modeling.NO_STRUCTURES)
    describe_head(config, task)
    model_class: Any = modeling.compact_class("bilstm", auto)
    config.architectures = [model_class.__name__]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)
        _begin(model, {word: len(SPECIAL) + number for number, word in enumerate(words)}, vectors)
    encoder = Encoder(model, word_tokenizer(words, options.lower), "bilstm", "bilstm")
    return encoder.to(device or best_device())


def _vocabulary(task: Task, options: BiLstm) -> tuple[list[str], WordVectors]:
    """(words behind the special tokens, the vectors that there are for some of them)"""
    splitting = word_tokenizer((), options.lower)

    def as_known(word: str) -> str | None:
        return one_word(splitting, word)

    counted = words_in(splitting, texts_of(task, task.training_split))
    own = sorted((word for word in counted if word not in SPECIAL), key=lambda word: (-counted[word], word))
    most = options.words - len(SPECIAL)
    own = own[:most]
    vectors = WordVectors()
    others: list[str] = []
    if options.vectors is not None:
        vectors = read_vectors(options.vectors, most, own, as_known)
        others = vectors.words
    elif options.word_list is not None:
        others = read_words(options.word_list, most, as_known)
    if not own and not others:
        raise UserError(f"The training texts of {task.name} hold no words.")
    return list(dict.fromkeys((*own, *others)))[:most], vectors


@torch.no_grad()
def _begin(model: Any, rows: Mapping[str, int], vectors: WordVectors) -> None:
    model.base_model.forget_little()
    table = model.get_input_embeddings().weight
    table[PADDING] = 0
    if vectors.values is None:
        return
    values = torch.from_numpy(vectors.values)
    table[len(SPECIAL) :] *= values.std() / table[len(SPECIAL) :].std().clamp_min(1e-12)
    known = [(rows[word], number) for number, word in enumerate(vectors.words) if word in rows]
    table[torch.tensor([row for row, _ in known])] = values[torch.tensor([number for _, number in known])]


__all__ = ["EPOCHS", "PATIENCE", "BiLstm", "fresh_bilstm"]
