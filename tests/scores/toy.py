"""A small application of random token ids, and scores computed the slow, obvious way: one example, one part a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.gates import apply_gate
from asc_core.probes import Probe, Readout, probing
from asc_core.tasks.base import Batch, Examples, Features, Metric, Targets, Task
from tests.tiny import WORDS


class ToyTask(Task):
    """count examples of 3 to 13 random tokens and a random class. padding: useless padded columns in every batch."""

    name, kind, head = "toy", "text-classification", "sequence-classification"
    labels = ("a", "b", "c")
    max_length = 32
    splits = ("train",)
    metric = Metric("none", ("n",), from_sums=lambda sums: sums[..., 0])

    def __init__(self, count: int = 9, padding: int = 0, windows: bool = False, labelled: bool = True, seed: int = 0):
        self.padding, self.windows, self.labelled = padding, windows, labelled
        generator = np.random.default_rng(seed)
        self.rows = [
            {"ids": np.concatenate(([2], generator.integers(5, len(WORDS), generator.integers(2, 13)))),
             "label": int(generator.integers(3))}
            for _ in range(count)
        ]  # fmt: skip

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Examples:
        numbers = np.arange(len(self.rows))
        if limit is not None and limit < len(self.rows):
            numbers = np.random.default_rng(seed).permutation(len(self.rows))[:limit]
        return Examples([self.rows[i] for i in numbers], split, numbers)

    def features(self, examples: Examples, encoder: Encoder) -> Features:
        ids, example, targets = [], [], []
        for e, row in enumerate(examples.rows):
            for window in (row["ids"], row["ids"][:3]) if self.windows and e % 2 else (row["ids"],):
                ids.append(window.astype(np.int32))
                example.append(e)
                targets.append(row["label"])
        return Features(ids, None, np.asarray(example), targets if self.labelled else None)

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, encoder: Encoder) -> Batch:
        longest = max(len(features.input_ids[i]) for i in rows) + self.padding
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(rows):
            n = len(features.input_ids[i])
            ids[row, :n], mask[row, :n] = torch.from_numpy(features.input_ids[i]).long(), 1
        targets = None if features.targets is None else torch.tensor([features.targets[i] for i in rows])
        return Batch({"input_ids": ids, "attention_mask": mask}, targets)

    def loss(
        self, output: Any, batch: Batch, targets: Targets = "gold", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        wanted = batch.targets
        if targets == "argmax":
            wanted = output.logits.detach().argmax(-1)
        if targets == "sampled":
            wanted = torch.multinomial(output.logits.detach().softmax(-1), 1, generator=generator)[:, 0]
        return functional.cross_entropy(output.logits, wanted, reduction="none")

    def predict(self, output: Any, batch: Batch) -> list[Any]:
        return output.logits.argmax(-1).tolist()

    def statistics(
        self, predictions: Sequence[Any], features: Features, examples: Examples, *args: Any, **kwargs: Any
    ) -> np.ndarray:
        """(examples, 1) whether an example's first window is right."""
        first = np.searchsorted(features.example, np.arange(len(examples.rows)))
        return np.array([[float(predictions[i] == row["label"])] for i, row in zip(first, examples.rows, strict=True)])


class PairTask(ToyTask):
    """A feature is two rows: its tokens, and the same in reverse. Its loss is that of the rows' mean logits."""

    def features(self, examples: Examples, encoder: Encoder) -> Features:
        single = super().features(examples, encoder)
        return replace(single, input_ids=[np.concatenate((ids, ids[::-1])) for ids in single.input_ids])

    def batch(self, features: Features, rows: Sequence[int] | np.ndarray, encoder: Encoder) -> Batch:
        halves = []
        for i in rows:
            halves += np.split(features.input_ids[i], 2)
        padded = super().batch(replace(features, input_ids=halves, targets=None), range(len(halves)), encoder)
        assert features.targets is not None
        return replace(padded, targets=torch.tensor([features.targets[i] for i in rows]), rows_per_feature=2)

    def loss(self, output: Any, batch: Batch, *args: Any, **kwargs: Any) -> torch.Tensor:
        return functional.cross_entropy(output.logits.unflatten(0, (-1, 2)).mean(1), batch.targets, reduction="none")


@dataclass
class Recorder(Probe):
    """All that flows during one forward pass, in order of execution."""

    states: list[torch.Tensor] = field(default_factory=list)
    layers: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    readouts: list[tuple[Readout, torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        self.states.append(hidden)

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.layers.append((before, after))

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        self.readouts.append((readout, inputs, output))


# The module whose output is the residual stream that the FFN adds to; ModernBERT's is what its second norm reads.
_BEFORE_FFN = {
    "distilbert": "sa_layer_norm",
    "modernbert": "mlp_norm",
    "eurobert": "post_attention_layernorm",
    "nomic_bert": "post_attention_layernorm",
}


def record(encoder: Encoder, inputs: dict[str, torch.Tensor]) -> tuple[Recorder, list[torch.Tensor]]:
    """(what flowed, the residual stream before each layer's FFN), all without the batch dimension of a single text."""
    residuals: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: Any) -> None:
        if encoder.architecture in ("modernbert", "eurobert"):
            output = args[0]
        residuals.append(output[0] if isinstance(output, tuple) else output)

    path = _BEFORE_FFN.get(encoder.architecture, "attention")
    hooks = []
    for row in modeling.rows_of(encoder.model):
        module = modeling.submodule(row, path)
        assert module is not None
        hooks.append(module.register_forward_hook(keep))
    with torch.no_grad(), probing(Recorder()) as recorder:
        encoder.model(**inputs)
    for hook in hooks:
        hook.remove()
    assert isinstance(recorder, Recorder)
    recorder.states.append(recorder.layers[-1][1])
    return recorder, residuals


def double(encoder: Encoder) -> Encoder:
    """In double precision, so that 1 - cos of a tiny update is not rounding error."""
    copied = encoder.copy()
    copied.model.double()
    return copied


def turned(x: torch.Tensor, update: torch.Tensor) -> tuple[float, float]:
    """(1 - cos(x, x + update), ||update|| / ||x||) of two vectors."""
    return 1 - float(torch.cosine_similarity(x, x + update, dim=0)), float(update.norm() / x.norm())


class AllGates(Probe):
    """One gate, asking for its gradient, on every head, neuron, sublayer and layer."""

    def __init__(self, encoder: Encoder):
        def ones(count: int) -> torch.Tensor:
            return torch.ones(count, requires_grad=True)

        shape = encoder.shape
        self.blocks = {(r.kind, r.row): ones(r.blocks) for r in encoder.readouts}
        self.sublayers = {(r.kind, r.row): ones(1) for r in encoder.readouts}
        self.layers = [ones(1) for _ in range(shape.layers)]

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor:
        key = (readout.kind, readout.row)
        return apply_gate(inputs, self.blocks[key], readout.width) * self.sublayers[key]

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return before + self.layers[layer] * (after - before)

    def gradients(self) -> dict[str, np.ndarray]:
        """part -> (parts of all rows,)"""

        def stack(kind: str, gates: dict[tuple[str, int], torch.Tensor]) -> np.ndarray:
            grads = [g.grad for (k, _), g in sorted(gates.items()) if k == kind]
            return torch.cat([g for g in grads if g is not None]).numpy()

        return {
            "heads": stack("attention", self.blocks),
            "neurons": stack("ffn", self.blocks),
            "attention": stack("attention", self.sublayers),
            "ffn": stack("ffn", self.sublayers),
            "layers": torch.cat([g.grad for g in self.layers if g.grad is not None]).numpy(),
        }


def single_example_gradients(encoder: Encoder, task: Task, targets: Targets = "gold") -> dict[str, np.ndarray]:
    """part -> (features, parts), one backward pass for each feature alone and unpadded."""
    features = task.features(task.examples("train"), encoder)
    each = []
    for i in range(len(features)):
        gates = AllGates(encoder)
        batch = task.batch(features, [i], encoder)
        with probing(gates):
            output = encoder.model(**batch.inputs)
        task.loss(output, batch, targets).sum().backward()
        each.append(gates.gradients())
    return {part: np.stack([gradients[part] for gradients in each]) for part in each[0]}
