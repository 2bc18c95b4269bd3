"""How much the rows of a table of tokens matter to an application: what a squared error in each of them costs."""

from __future__ import annotations

from typing import Any, Literal

import torch

from asc_core.compress.drawn_texts import drawn_batches
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.scores.sensitivity import random_projection
from asc_core.scores.sweep_pass import frozen
from asc_core.tasks.base import Task
from asc_core.vocabulary import token_counts

SAMPLES = 1024
TOKENS = 65536
Weighting = Literal["equal", "use", "outputs"]


def row_weights(
    encoder: Encoder,
    task: Task,
    by: Literal["use", "outputs"],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> torch.Tensor:
    """(tokens,) above 0, 1 on average.

    "use": how often the training texts (the first split where there are none) use each token. "outputs": what a change
    of its row does to the model's outputs there, to first order: the squares of the gradients at its occurrences,
    summed (see `random_projection`). Each token is taken to be used once more, at an average price, since new texts
    hold others.
    Raises: UserError as the task does, Cancelled.
    """
    if by == "use":
        found = torch.from_numpy(token_counts(encoder, task)).double() + 1
    else:
        sums, uses = row_gradients(encoder, task, samples=samples, seed=seed, progress=progress)
        found = sums + sums.sum() / max(1, uses)
    mean = found.mean()
    return (found / mean if mean > 0 else torch.ones_like(found)).float()


def row_gradients(
    encoder: Encoder,
    task: Task,
    *,
    samples: int = SAMPLES,
    tokens: int = TOKENS,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[torch.Tensor, int]:
    """((tokens of the table,) double, squares of the gradients at each token's occurrences, summed; occurrences).

    samples: examples at most, of long texts as many as make `tokens`.
    """
    runner, source = frozen(encoder), _Source()
    what = f"gradients of rows on {task.name}"
    texts = drawn_batches(
        runner, task, samples=samples, tokens=tokens, seed=seed, progress=progress or Progress(), what=what
    )
    found, uses = torch.zeros(encoder.tokens, dtype=torch.float64), 0
    hook = runner.model.get_input_embeddings().register_forward_hook(source)
    try:
        for batch, noise in texts:
            with torch.enable_grad():
                output = runner.model(**batch.inputs)
                (gradient,) = torch.autograd.grad(random_projection(output, batch.mask, noise), [source.rows])
            real = batch.mask.bool()
            squares = gradient.square().sum(-1)[real].double().cpu()
            found.index_add_(0, batch.inputs["input_ids"][real].cpu(), squares)
            uses += len(squares)
    finally:
        hook.remove()
    return found, uses


class _Source:
    """A hook: the graph begins at the rows that were looked up."""

    rows: torch.Tensor

    def __call__(self, module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        self.rows = output.detach().requires_grad_()
        return self.rows
