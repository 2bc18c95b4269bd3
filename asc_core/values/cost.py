"""What a model costs, whoever counted it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """parameters: of the whole model, with embeddings and task head. encoder_parameters: of the layers alone.

    flops: of the encoder's layers for one text of the task, unpadded, on average (2 per multiply-add; embeddings,
    norms, activations, softmax and task head are not counted). bytes: of the weights in a file. latency: seconds of a
    batch as foretold by the latency table, None without one.
    """

    parameters: int
    encoder_parameters: int
    flops: float
    bytes: int
    latency: float | None = None
