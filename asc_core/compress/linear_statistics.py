"""What matrices read and what their outputs are worth, from one pass over an application's texts.

For each matrix the mean and the second moments of its inputs, and the second moments of the gradient at its output of a
random projection of the model's outputs (see `random_projection`): with x its input and g that gradient, a change D of
the matrix changes the model's outputs by E[(g^T D x)^2] in the square, to first order. Taking g and x to be unrelated,
as K-FAC does (Martens and Grosse 2015, arXiv 1503.05671, section 3), this is tr(E[g g^T] D E[x x^T] D^T): the price of
whatever is done to a matrix, in one currency for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from asc_core.compress.drawn_texts import drawn_batches
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.scores.sensitivity import random_projection
from asc_core.scores.sweep_pass import frozen
from asc_core.tasks.base import Task

SAMPLES = 1024
RIDGE = 1e-4  # of the mean of a second moment's diagonal
TOKENS = 16384  # a second moment of 1,536 columns needs more tokens than columns, and many times as many to be of use


@dataclass(frozen=True)
class MatrixStatistics:
    """mean: (columns,) of the inputs. inputs: (columns, columns) mean of x x^T. gradients: (rows, rows) mean of g g^T.

    calls: how many inputs (tokens, or of a shared matrix tokens of each call) they are the mean of.
    """

    mean: torch.Tensor
    inputs: torch.Tensor
    gradients: torch.Tensor
    calls: int

    def moments(self, biased: bool) -> torch.Tensor:
        """What a change of the matrix costs by: where a bias takes over the mean of what is lost, the covariance."""
        return self.covariance if biased else self.inputs

    @property
    def covariance(self) -> torch.Tensor:
        """Of the inputs: what counts where a bias can take over the mean of what is lost."""
        return self.inputs - torch.outer(self.mean, self.mean)


def linear_statistics(
    encoder: Encoder,
    task: Task,
    names: Iterable[str],
    *,
    samples: int = SAMPLES,
    tokens: int = TOKENS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, MatrixStatistics]:
    """Of those of the modules of these names that are called, by the training texts (the task's first split where it
    has none).

    samples: examples at most, of long texts as many as make `tokens`. Matrices that read the same, such as query, key
    and value, share one tensor. Memory: 4 bytes x (columns^2 + rows^2) each.
    Raises: UserError (no such texts, or layers that do not call their matrices one by one), Cancelled.
    """
    if not encoder.has_parts:
        raise UserError(
            f"What the matrices of {encoder.name} ({encoder.architecture}) read cannot be seen, as they are multiplied "
            'all in one call: go by their own numbers instead (factor: nearest "weights"; sparsify: by "magnitude").'
        )
    what = f"statistics of {task.name}"
    runner = frozen(encoder)
    texts = drawn_batches(
        runner, task, samples=samples, tokens=tokens, seed=seed, progress=progress or Progress(), what=what
    )
    modules = {name: runner.model.get_submodule(name) for name in names}
    sums = _Sums(modules)
    with ExitStack() as hooks:
        for remove in sums.hooks(runner.model):
            hooks.callback(remove)
        for batch, noise in texts:
            sums.mask = batch.mask.bool()
            with torch.enable_grad():
                output = runner.model(**batch.inputs)
                torch.autograd.grad(random_projection(output, batch.mask, noise), [sums.source])
            sums.release()
    return sums.means()


def with_ridge(moments: torch.Tensor) -> torch.Tensor:
    """Moments, double, and a little of the identity: what the texts never showed is not worth nothing."""
    moments = moments.double()
    damping = RIDGE * moments.diagonal().mean().clamp_min(1e-30)
    return moments + damping * torch.eye(len(moments), dtype=moments.dtype)


class _Sums:
    """Of all calls so far. mask: (B, T) of the batch. source: where its graph begins."""

    def __init__(self, modules: Mapping[str, nn.Module]):
        self.modules = modules
        self.mask: torch.Tensor
        self.source: torch.Tensor
        self._last: torch.Tensor | None = (
            None  # what was read last: matrices that read the same do so one after another
        )
        self._of_last = ""
        self._reads: dict[str, str] = {}  # name -> the one whose inputs are the same
        self._inputs: dict[str, Any] = {}
        self._means: dict[str, Any] = {}
        self._gradients: dict[str, Any] = {}
        self._calls: dict[str, int] = {}

    def hooks(self, model: nn.Module) -> Iterable[Callable[[], None]]:
        """Put them on; each is a way to take it off."""

        def begin(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            self.source = output.detach().requires_grad_()
            return self.source

        yield model.get_input_embeddings().register_forward_hook(begin).remove  # type: ignore[operator]
        for name, module in self.modules.items():

            def see(module: nn.Module, inputs: Any, output: torch.Tensor, name: str = name) -> None:
                if not output.requires_grad:
                    return  # of no text: positions, which DeBERTa sends through the same matrices
                self._read(name, inputs[0])
                output.register_hook(lambda gradient: self._gradient(name, gradient))

            yield module.register_forward_hook(see).remove

    def release(self) -> None:
        """After each batch: nothing of it stays."""
        self._last = None
        del self.source, self.mask

    def means(self) -> dict[str, MatrixStatistics]:
        found = {}
        for name in self._calls:
            owner, calls = self._reads[name], self._calls[name]
            found[name] = MatrixStatistics(
                self._means[owner] / calls, self._inputs[owner] / calls, self._gradients[name] / calls, calls
            )
        for owner in {*self._reads.values()}:  # one tensor for all that read the same
            same = [name for name, other in self._reads.items() if other == owner]
            first = found[same[0]]
            for name in same[1:]:
                found[name] = MatrixStatistics(first.mean, first.inputs, found[name].gradients, found[name].calls)
        return found

    def _rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """(n, width) of real tokens; what has no tokens (a pooled text) counts whole."""
        tensor = tensor.detach()
        return tensor[self.mask] if tensor.shape[:-1] == self.mask.shape else tensor.flatten(0, -2)

    def _read(self, name: str, inputs: torch.Tensor) -> None:
        same = inputs is self._last
        if not same:
            self._last, self._of_last = inputs, name
        owner = self._reads.setdefault(name, self._of_last)
        rows = self._rows(inputs)
        self._calls[name] = self._calls.get(name, 0) + len(rows)
        if owner == name:
            self._inputs[name] = self._inputs.get(name, 0.0) + rows.T @ rows
            self._means[name] = self._means.get(name, 0.0) + rows.sum(0)

    def _gradient(self, name: str, gradient: torch.Tensor) -> None:
        rows = self._rows(gradient)
        self._gradients[name] = self._gradients.get(name, 0.0) + rows.T @ rows
