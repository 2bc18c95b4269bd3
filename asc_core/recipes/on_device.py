"""On-device language understanding: one recipe from an application's encoder to a file of less than a megabyte.

Vocabulary and positions of the application, the word embedding in two factors, a student of few heads and neurons, and
all that is left in few bits, learning from the original in each of the last two steps. It is past the mark of Chung et
al. (2020, arXiv 2012.00124), which compresses the word embedding alone. A *size* says how much of each stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from asc_core import modeling
from asc_core.compress.embedding import Embedding
from asc_core.compress.low_bits import Coded
from asc_core.compress.positions import Positions
from asc_core.compress.step import Step, StepContext
from asc_core.compress.vocabulary import Vocabulary
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export.device_file import device_file, refusal
from asc_core.modeling import PACKINGS
from asc_core.progress import Progress
from asc_core.tasks.base import Task
from asc_core.train.quantized import TrainQuantized
from asc_core.train.student import Student, evenly
from asc_core.values import Plan

PASSES = 10  # over the training texts in float32; a quarter of it in few bits
LEAST = 2000  # batches, however few texts there are: a student begins with little
BATCH = 32
LEARNING_RATE, ROUNDING_RATE = 1e-3, 5e-4
SAMPLES = 256


@dataclass(frozen=True)
class DeviceSize:
    """depth: layers, of so many heads and width neurons each. rank: of the word embedding's factors; 0 = it stays
    whole, as where it has too few tokens for factors to save anything. bits: of matrices, embedding_bits: of the
    factors. least: how often a token stands in the training texts to stay; rarer words are spelled in smaller pieces,
    and what was seen once says little."""

    depth: int
    heads: int
    width: int
    rank: int
    bits: int = 4
    embedding_bits: int = 4
    least: int = 1


# The largest first. Shares of what an encoder has, for 12 heads, 1,536 neurons and 384 columns.
SIZES = (
    DeviceSize(4, 12, 1024, 192),
    DeviceSize(3, 8, 768, 128),
    DeviceSize(3, 6, 512, 128),
    DeviceSize(2, 6, 512, 96),
    DeviceSize(2, 6, 384, 96),
    DeviceSize(2, 6, 384, 96, 3),
    DeviceSize(2, 6, 320, 64, 3),
    DeviceSize(2, 6, 320, 64, 2),
    DeviceSize(2, 6, 320, 64, 2, least=2),
    DeviceSize(1, 6, 384, 48, 2, least=2),
    DeviceSize(1, 4, 256, 32, 2, 2, least=4),
)


def on_device_steps(
    size: DeviceSize, *, steps: int, rounding_steps: int, labels: float = 0.5, seed: int = 0
) -> tuple[Step, ...]:
    """steps, rounding_steps: batches in float32 and in few bits. labels: what they count beside the teacher."""
    learn: dict[str, Any] = {"labels": labels, "hidden": 0.0, "batch_size": BATCH, "patience": None, "seed": seed}
    factors = (Embedding(form="factors", rank=size.rank, weighted="use", seed=seed),) if size.rank else ()
    return (
        Vocabulary(least=size.least),
        Positions(),
        *factors,
        Student(
            depth=size.depth,
            heads=size.heads,
            width=size.width,
            method="fisher",
            samples=SAMPLES,
            steps=steps,
            lr=LEARNING_RATE,
            **learn,
        ),
        TrainQuantized(
            bits=size.bits,  # type: ignore[arg-type]
            embedding_bits=size.embedding_bits,  # type: ignore[arg-type]
            steps=rounding_steps,
            lr=ROUNDING_RATE,
            **learn,
        ),
    )


@dataclass(frozen=True)
class Fit:
    """size: the largest within a budget. bytes: of what comes of it, exactly. of_file: whether those are of a device's
    file with its tokenizer; of an encoder that cannot have one, they are of its weights."""

    size: DeviceSize
    bytes: int
    of_file: bool

    def steps(self, task: Task, passes: float = PASSES, seed: int = 0) -> tuple[Step, ...]:
        """Those that make it, with so many passes over the training texts."""
        learn, rounding = batches(task, passes)
        return on_device_steps(self.size, steps=learn, rounding_steps=rounding, seed=seed)


def largest_within(encoder: Encoder, task: Task, most: float, progress: Progress | None = None) -> Fit:
    """The first of `SIZES` whose result takes at most so many bytes. Nothing is trained for it.

    Raises: UserError where none does, or the task has no texts to choose a vocabulary by; Cancelled.
    """
    progress, context = progress or Progress(), StepContext(task, encoder, progress=progress)
    found: list[Fit] = []
    shorter: dict[int, Encoder] = {}
    for number, size in enumerate(SIZES):
        progress.step(number, len(SIZES), "sizes")
        if size.least not in shorter:
            texts = Vocabulary(least=size.least).apply(encoder, context)
            shorter[size.least] = Positions().apply(texts, context)
        found.append(_forecast(within(size, shorter[size.least]), shorter[size.least]))
        if found[-1].bytes <= most:
            return found[-1]
    least = min(one.bytes for one in found)
    raise UserError(
        f"{most / 1e6:.3g} MB is too little for {encoder.name} on {task.name}: the smallest size takes "
        f"{least / 1e6:.3g} MB."
    )


def within(size: DeviceSize, encoder: Encoder) -> DeviceSize:
    """With no more of anything than an encoder has, whose vocabulary is as short as it will be."""
    shape = encoder.shape
    if not shape.layers or shape.shares_weights:
        raise UserError(f"{encoder.name} has no layers of its own to make a student of: choose another recipe.")
    tokens, columns = encoder.tokens, modeling.width_of(encoder.model.get_input_embeddings())
    return replace(
        size,
        depth=min(size.depth, shape.layers),
        heads=min(size.heads, *shape.heads),
        width=min(size.width, *shape.neurons),
        rank=size.rank if size.rank * (tokens + columns) < tokens * columns else 0,
    )


def _forecast(size: DeviceSize, shorter: Encoder) -> Fit:
    """By the model as it will be but for its values, which are zeros where steps would choose them."""
    made = _in_factors(shorter, size.rank) if size.rank else shorter
    shape = made.shape
    layers = evenly(shape.layers, size.depth)
    heads = tuple(tuple(range(min(size.heads, of))) for of in shape.heads)
    neurons = tuple(tuple(range(min(size.width, of))) for of in shape.neurons)
    made = made.cut(Plan(shape, heads, neurons, layers))
    entry = TrainQuantized(bits=size.bits, embedding_bits=size.embedding_bits).entry  # type: ignore[arg-type]
    able = modeling.quantizable(made.model, outside=True)
    codes = {name: modeling.empty_module(able[name], modeling.Form.of(made.model, name, entry)) for name in able}
    made = Coded(entry, codes).encoder(made, list(able))
    if refusal(made) is None:
        return Fit(size, device_file(made, PACKINGS["float16"]).bytes, True)
    return Fit(size, modeling.count(made.model, "float16").bytes, False)


def _in_factors(encoder: Encoder, rank: int) -> Encoder:
    table = encoder.model.get_input_embeddings()
    first, second = torch.zeros(modeling.tokens_of(table), rank), torch.zeros(modeling.width_of(table), rank)
    tensors = modeling.embedding_factors_tensors(encoder.model, first, second)
    return encoder.with_structure({"kind": "embedding-factors", "rank": rank}, tensors)


def batches(task: Task, passes: float = PASSES) -> tuple[int, int]:
    """(in float32, in few bits) of so many passes over the training texts, and no fewer than `LEAST`."""
    learn = max(LEAST, round(passes * len(task.examples(task.training_split)) / BATCH))
    return learn, max(1, learn // 4)
