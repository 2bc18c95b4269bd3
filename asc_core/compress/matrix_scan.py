"""What it does to an application to quantize each matrix alone, and which ones had better stay as they are.

The divergence of many matrices is taken to be in proportion to the sum of each one's, which orders them and no more: a
sum alone says too much (MiniLM in 8 bits: 0.0028 where all together had 0.0025 on SICK, 0.0041 for 0.0022 on MRPC). So
the whole is measured once, and what part of it a choice leaves is estimated; how many answers change with it is taken
to grow with its root. `Quantize` measures what it chose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from asc_core import modeling
from asc_core.batches import batches_by_length
from asc_core.compress.low_bits import Coded
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.scores.restart import Restartable
from asc_core.tasks.base import Batch, Task
from asc_core.tasks.soft_targets import OUTPUTS, changed_answers, relative_error, soft_targets

SAMPLES = 256
TOKENS = 8192  # of long texts so many tokens are enough
BATCH_TOKENS = 2048
SURE = 0.95
_NAME = re.compile(rf"{modeling.EMBEDDING}|[0-9]{{1,3}}\.[A-Za-z0-9_.]+")


@dataclass(frozen=True)
class Effect:
    """divergence: mean KL of the outputs (see `soft_targets`), of an embedding model the squared error of its hidden
    states as a share of their square. changed: share of the texts with another answer. decides: whether it has
    answers at all."""

    divergence: float
    changed: float
    decides: bool = True

    @property
    def share(self) -> float:
        """Of the answers that are others; of a model that decides nothing, of its outputs' square that is lost."""
        return self.changed if self.decides else self.divergence


@dataclass(frozen=True)
class MatrixScan:
    """names: of matrices, see `modeling.quantizable`. alone: what quantizing each alone does, in their order.
    together: what quantizing all of them does. numbers: in each. texts, tokens: that it was measured on."""

    names: tuple[str, ...]
    alone: tuple[Effect, ...]
    together: Effect
    numbers: tuple[int, ...]
    activations: str
    texts: int
    tokens: int

    def __post_init__(self) -> None:
        """Raises: ValueError where a scan that was read is none of matrices."""
        if not len(self.names) == len(self.alone) == len(self.numbers) or not all(map(_NAME.fullmatch, self.names)):
            raise ValueError("these are no matrices with an effect each")

    def grid(self) -> tuple[tuple[str, ...], np.ndarray]:
        """(paths of matrices in a layer, (rows, paths) divergence of each): NaN where there is no such matrix."""
        places = [(name.partition("."), one) for name, one in zip(self.names, self.alone, strict=True) if "." in name]
        paths = tuple(dict.fromkeys(path for (_, _, path), _ in places))
        rows = 1 + max((int(row) for (row, _, _), _ in places), default=-1)
        found = np.full((rows, len(paths)), np.nan)
        for (row, _, path), effect in places:
            found[int(row), paths.index(path)] = effect.divergence
        return paths, found

    def to_json(self) -> dict[str, Any]:
        return {
            "activations": self.activations,
            "texts": self.texts,
            "tokens": self.tokens,
            "together": {"divergence": self.together.divergence, "changed": self.together.changed},
            "matrices": [
                {"name": name, "numbers": numbers, "divergence": effect.divergence, "changed": effect.changed}
                for name, numbers, effect in zip(self.names, self.numbers, self.alone, strict=True)
            ],
        }


class MatrixScanner:
    """An encoder, and what it answers on some texts, to compare with what it answers with matrices quantized."""

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        activations: str = "dynamic",
        samples: int = SAMPLES,
        tokens: int = TOKENS,
        seed: int = 0,
        split: str | None = None,
        coded: Coded | None = None,
    ):
        """split: by default the training texts, the task's first split where it has none. coded: what would stand
        in the places of matrices, by default the nearest int8."""
        split = split or task.training_split
        self.encoder, self.task, self.activations, self._coded = encoder, task, activations, coded
        features = task.features(task.examples(split, samples, seed), encoder)
        most = max(1, int(np.searchsorted(np.cumsum(features.lengths), tokens, side="right")))
        rows = np.arange(min(len(features), most))
        self.texts, self.tokens = len(rows), int(features.lengths[rows].sum())
        batches = batches_by_length(features.lengths[rows], BATCH_TOKENS)
        self.batches: list[Batch] = [task.batch(features, rows[batch], encoder) for batch in batches]
        self._runner = Restartable(encoder)
        self.wanted, self._states = [], []
        with torch.inference_mode():
            for batch in self.batches:
                output, states = self._runner.record(batch.inputs)
                self.wanted.append(_kept(output))
                self._states.append(states)
        self.decides = any(value.shape[-1] > 1 for name, value in vars(self.wanted[0]).items() if name in OUTPUTS)

    def effect(self, names: Sequence[str]) -> Effect:
        """What quantizing these matrices together does."""
        if self._coded is not None:
            return self.effect_of(self._coded.encoder(self.encoder, names).model)
        return self.effect_of(quantized(self.encoder, names, self.activations).model)

    def effect_of(self, model: Any) -> Effect:
        """What another model does on the texts, against the encoder. model: transformers' or a compact one."""
        return self._of(lambda batch, states: model(**batch.inputs))

    def alone(self, name: str) -> Effect:
        """What quantizing one matrix does: the layers below it do what they did."""
        if name == modeling.EMBEDDING:
            return self.effect([name])
        row, model = int(name.partition(".")[0]), self._runner.encoder.model
        layer = self.encoder.shape.rows.index(row)
        parent, path = modeling.place_of(model, name)
        before = parent.get_submodule(path)
        if self._coded is not None:
            made = self._coded.modules[name]
        else:
            made = modeling.quantized_module(before, self.activations == "dynamic")
        modeling.put_submodule(parent, path, made)
        try:
            return self._of(lambda batch, states: self._runner.start(layer, batch.inputs, states[layer]))
        finally:
            modeling.put_submodule(parent, path, before)

    def scan(self, names: Sequence[str] | None = None, progress: Progress | None = None) -> MatrixScan:
        """names: by default all that can be quantized. Raises: Cancelled."""
        progress, able = progress or Progress(), modeling.quantizable(self.encoder.model)
        able = able if names is None else {name: able[name] for name in names}
        alone = []
        for number, name in enumerate(able):
            progress.step(number, len(able) + 1, "matrices tried in codes")
            alone.append(self.alone(name))
        together = self.effect(list(able))
        progress.step(len(able) + 1, len(able) + 1, "matrices tried in codes")
        return MatrixScan(
            names=tuple(able),
            alone=tuple(alone),
            together=together,
            numbers=tuple(sum(p.numel() for p in module.parameters()) for module in able.values()),
            activations=self.activations,
            texts=self.texts,
            tokens=self.tokens,
        )

    def _of(self, run: Callable[[Batch, list[torch.Tensor]], Any]) -> Effect:
        divergence, changed = 0.0, 0
        with torch.inference_mode():
            for batch, wanted, states in zip(self.batches, self.wanted, self._states, strict=True):
                rows, far, differ = self._compared(run(batch, states), batch, wanted)
                divergence, changed = divergence + rows * far, changed + differ
        return Effect(divergence / self.texts, changed / self.texts, self.decides)

    def _compared(self, output: Any, batch: Batch, wanted: Any) -> tuple[int, float, int]:
        mask, said = batch.mask.bool(), _kept(output)
        if hasattr(said, "last_hidden_state"):
            far = float(relative_error(said.last_hidden_state, wanted.last_hidden_state, mask))
            return len(mask), far, 0
        binary = self.task.kind == "multi-label"
        far = float(soft_targets(said, wanted, mask, 1.0, binary))
        return len(mask), max(0.0, far), int(changed_answers(said, wanted, mask, binary).sum())


def quantized(encoder: Encoder, names: Sequence[str], activations: str) -> Encoder:
    """An encoder whose matrices of these names are int8, on the same weights elsewhere."""
    entry = {
        "kind": "quantize",
        "bits": 8,
        "matrices": list(names),
        "activations": activations,
    }
    return encoder.with_structure(entry, modeling.quantized_tensors(encoder.model, list(names)))


def kept_in_order(scan: MatrixScan) -> Iterator[str]:
    """Matrices by what is won by leaving each as it is, the most harmful first."""
    for place in np.argsort([-one.divergence for one in scan.alone], kind="stable"):
        yield scan.names[place]


def bearable(most_changed: float, texts: int) -> float:
    """The largest share of so many answers that changes by chance where `most_changed` of all do: more is seen in less
    than one of twenty draws.

    An answer that hangs by a hair changes at any rounding, so that a handful of changes says little of what is rounded:
    asked for 1 % of 256 to the letter, three such texts would leave every matrix in float32.
    """
    if most_changed <= 0 or most_changed >= 1:
        return min(max(most_changed, 0.0), 1.0)
    seen, log_odds = 0.0, math.log(most_changed) - math.log1p(-most_changed)
    for changed in range(texts + 1):
        ways = math.lgamma(texts + 1) - math.lgamma(changed + 1) - math.lgamma(texts - changed + 1)
        seen += math.exp(ways + changed * log_odds + texts * math.log1p(-most_changed))
        if seen >= SURE:
            return changed / texts
    return 1.0


def least_kept(scan: MatrixScan, most_changed: float) -> tuple[str, ...]:
    """The fewest matrices to leave as they are, so that at most so large a share of answers is expected to change.

    The expectation: answers change with the root of the divergence, of which each matrix has the share that it has of
    the sum of single ones; anchored at what was measured of all matrices together. Of a model that decides nothing
    (embeddings, numbers), the share is that of the square of its outputs which is lost.
    """
    divergence = {name: one.divergence for name, one in zip(scan.names, scan.alone, strict=True)}
    total = sum(divergence.values())
    kept: list[str] = []
    left = total
    for name in kept_in_order(scan):
        if expected_changed(scan, left / total if total else 0.0) <= most_changed:
            break
        kept.append(name)
        left = max(0.0, left - divergence[name])
    return tuple(kept)


def expected_changed(scan: MatrixScan, share: float) -> float:
    """The share of answers that is expected to change at a share of the divergence of all matrices."""
    exponent = 0.5 if scan.together.decides else 1.0
    return float(scan.together.share * max(0.0, share) ** exponent)


def _kept(output: Any) -> Any:
    """What is compared, on its own: hidden states of a model with answers would fill the memory."""
    names = [name for name in OUTPUTS if getattr(output, name, None) is not None]
    return SimpleNamespace(**{name: output[name] for name in names or ["last_hidden_state"]})
