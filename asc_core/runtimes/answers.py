"""A session as a `Reader`: what it answers is evaluated like the model in memory, by the runtime itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch

from asc_core.encoder import Encoder
from asc_core.runtimes.session import Session


class SessionReader:
    """The session answers; what a task asks beside answers (tokenizer, labels, ...) is the encoder's that it is of."""

    def __init__(self, session: Session, encoder: Encoder):
        self.session = session
        self.name, self.source = f"{encoder.name} in {session.runtime}", encoder.source
        self.tokenizer, self.head, self.device = encoder.tokenizer, encoder.head, torch.device("cpu")
        self.labels, self.slot_labels = encoder.labels, encoder.slot_labels
        self.max_length, self.shortened = encoder.max_length, encoder.shortened
        self.type_vocab_size = encoder.type_vocab_size
        self.tokens, self.sentences = encoder.tokens, encoder.sentences

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        return SimpleNamespace(**self.session.answer(inputs))
